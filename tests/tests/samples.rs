//! The configuration files that are installed or copied: nginx takes each of them.

use std::fs;
use std::io;
use std::path::Path;

use push_tests::host::key_file;
use push_tests::tls::Certificate;
use push_tests::{Nginx, builds, nginx, ports};
use tempfile::TempDir;

/// A sample, with the machine's paths and ports turned into the test's.
fn sample(name: &str, prefix: &Path) -> String {
    let file = builds::repository().join("nginx-conf").join(name);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let prefix = prefix.to_str().expect("UTF-8");
    text.replace("/etc/nginx", prefix)
        .replace("/run/nginx.pid", &format!("{prefix}/nginx.pid"))
        .replace("listen 443", &format!("listen {}", ports::free()))
        .replace("listen 127.0.0.1:8895", &format!("listen {}", ports::free()))
        // Where nginx writes to by default only root may.
        .replace("http {\n", &format!("http {{\n{}", own_paths(prefix)))
}

fn own_paths(prefix: &str) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = temporary.map(|name| format!("{name}_temp_path {prefix}/{name};\n"));
    paths.concat() + "access_log off;\n"
}

/// A folder like /etc/nginx, with the module, a key and a certificate.
fn etc_nginx(version: Nginx) -> io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    fs::create_dir(path.join("modules"))?;
    fs::copy(builds::module(version), path.join("modules/ngx_http_bx_push_module.so"))?;
    key_file(path, "bx-push.key", &"0123456789abcdef".repeat(4), 0o600)?;
    let certificate = Certificate::make(path)?;
    fs::copy(certificate.file, path.join("portal.crt"))?;
    fs::copy(certificate.key_file, path.join("portal.key"))?;
    Ok(folder)
}

fn accepted(version: Nginx, prefix: &Path, conf: &str) -> io::Result<()> {
    let file = prefix.join("nginx.conf");
    fs::write(&file, conf)?;
    let output = nginx::test_file(version, prefix, &file)?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    for line in told.lines().filter(|line| line.contains("[warn]")) {
        // What an unprivileged user is told, and what 1.25.1 said about the older spelling.
        let known = line.contains("\"user\" directive") || line.contains("http2\" directive");
        assert!(known, "{line}");
    }
    Ok(())
}

#[test]
fn a_portals_nginx_conf_is_accepted() -> io::Result<()> {
    for version in [Nginx::Installed, Nginx::Vendored] {
        let folder = etc_nginx(version)?;
        let conf = sample("portal.conf.example", folder.path());
        accepted(version, folder.path(), &conf)?;
    }
    Ok(())
}

#[test]
fn the_installed_files_fit_into_debians_layout() -> io::Result<()> {
    for version in [Nginx::Installed, Nginx::Vendored] {
        let folder = etc_nginx(version)?;
        let path = folder.path();
        for (name, to) in [
            ("load-module.conf", "modules-enabled/50-mod-http-bx-push.conf"),
            ("bx-push.conf", "conf.d/bx-push.conf"),
            ("bx-push-locations.conf", "snippets/bx-push-locations.conf"),
        ] {
            let to = path.join(to);
            fs::create_dir_all(to.parent().expect("a folder"))?;
            fs::write(to, sample(name, path))?;
        }
        // Includes as in Debian's nginx.conf; a site as it would be with the snippet in it.
        let conf = format!(
            "include modules-enabled/*.conf;
pid {path}/nginx.pid;
events {{ worker_connections 768; }}
http {{
{}
    include conf.d/*.conf;
    server {{
        listen {};
        include snippets/bx-push-locations.conf;
    }}
}}\n",
            own_paths(path.to_str().expect("UTF-8")),
            ports::free(),
            path = path.display(),
        );
        accepted(version, path, &conf)?;
    }
    Ok(())
}

#[test]
fn the_readme_shows_the_sample() -> io::Result<()> {
    let readme = fs::read_to_string(builds::repository().join("README.md"))?;
    let example = fs::read_to_string(builds::repository().join("nginx-conf/portal.conf.example"))?;
    assert!(readme.contains(&example), "README.md does not show portal.conf.example as it is");
    Ok(())
}
