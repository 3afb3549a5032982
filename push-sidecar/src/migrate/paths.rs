//! Where things belong on a machine.

/// Configuration of the daemon.
pub const SIDECAR_TOML: &str = "/etc/push-sidecar/push-sidecar.toml";
/// What stands in nginx's http block.
pub const HTTP_CONF: &str = "bx-push.conf";
/// The public locations, for an installation without nginx files.
pub const LOCATIONS_CONF: &str = "snippets/bx-push-locations.conf";
/// Loads the module.
pub const LOAD_MODULE_CONF: &str = "50-mod-http-bx-push.conf";
/// The daemon's socket.
pub const SOCKET: &str = "/run/push-server/push-sidecar.sock";

/// The file of a key, below nginx's folder.
pub fn key_file(number: usize) -> String {
    match number {
        0 => "bx-push.key".into(),
        _ => format!("bx-push-{}.key", number + 1),
    }
}
