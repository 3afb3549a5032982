//! Where the binaries under test are: the `build/` folder that `make` fills.

use std::path::{Path, PathBuf};

use crate::Nginx;

/// The folder of builds: `BX_TEST_BUILD`, by default `build/` of the repository.
pub fn folder() -> PathBuf {
    std::env::var_os("BX_TEST_BUILD").map_or_else(|| repository().join("build"), PathBuf::from)
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository")
}

/// A file of the build, which must exist.
pub fn built(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.exists(), "{} is missing: run `make build vendored demo`", path.display());
    path
}

/// The nginx binary.
pub fn nginx(nginx: Nginx) -> PathBuf {
    match nginx {
        Nginx::Installed => {
            std::env::var_os("NGINX_BINARY").map_or_else(|| "/usr/sbin/nginx".into(), PathBuf::from)
        }
        Nginx::Vendored => built("vendored/nginx"),
    }
}

/// The module for that nginx.
pub fn module(nginx: Nginx) -> PathBuf {
    match nginx {
        Nginx::Installed => built("ngx_http_bx_push_module.so"),
        Nginx::Vendored => built("vendored/ngx_http_bx_push_module.so"),
    }
}

/// The daemon.
pub fn sidecar() -> PathBuf {
    built("push-sidecar")
}
