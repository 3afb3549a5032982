//! Hands what nginx's configure found (`ngx_feature = "ssl"`, …) on to the compiler as cfg values.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // nginx-sys publishes both lists; a direct dependency on it makes them visible here.
    println!("cargo::rerun-if-env-changed=DEP_NGINX_FEATURES_CHECK");
    println!("cargo::rerun-if-env-changed=DEP_NGINX_FEATURES");
    let known = env::var("DEP_NGINX_FEATURES_CHECK").unwrap_or_else(|_| "any()".to_owned());
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values({known}))");
    for feature in env::var("DEP_NGINX_FEATURES").iter().flat_map(|all| all.split(',')) {
        println!("cargo::rustc-cfg=ngx_feature=\"{}\"", feature.trim());
    }
}
