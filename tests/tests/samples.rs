//! The configuration files that are installed or copied: nginx takes each of them.

use std::fs;
use std::io;

use push_tests::docs::nginx_root::NginxRoot;
use push_tests::{Nginx, builds};

#[track_caller]
fn accepted(conf: &str) {
    for version in [Nginx::Installed, Nginx::Vendored] {
        let told = NginxRoot::new(version).and_then(|root| root.try_out(conf)).expect("nginx runs");
        assert_eq!(told, Ok(()), "{version:?}");
    }
}

fn example() -> io::Result<String> {
    fs::read_to_string(builds::repository().join("nginx-conf/portal.conf.example"))
}

#[test]
fn a_portals_nginx_conf_is_accepted() -> io::Result<()> {
    accepted(&example()?);
    Ok(())
}

/// Includes as in Debian's nginx.conf; a site as it would be with the snippet in it.
#[test]
fn the_installed_files_fit_into_debians_layout() {
    accepted(
        "include modules-enabled/*.conf;
events { worker_connections 768; }
http {
    access_log off;
    include conf.d/*.conf;
    server {
        listen 80;
        include snippets/bx-push-locations.conf;
    }
}\n",
    );
}

#[test]
fn the_readme_shows_the_sample() -> io::Result<()> {
    let readme = fs::read_to_string(builds::repository().join("README.md"))?;
    assert!(readme.contains(&example()?), "README.md does not show portal.conf.example as it is");
    Ok(())
}
