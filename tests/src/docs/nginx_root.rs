//! A folder like /etc/nginx, in which samples and configurations of the documentation are tried.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::host::key_file;
use crate::tls::Certificate;
use crate::{Nginx, builds, nginx};

/// The folder, for one version of nginx.
pub struct NginxRoot {
    folder: TempDir,
    version: Nginx,
    certificate: Certificate,
}

impl NginxRoot {
    /// With the module, and what is installed beside it.
    pub fn new(version: Nginx) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        for name in ["modules", "modules-enabled", "conf.d", "snippets", "log", "logs"] {
            fs::create_dir(path.join(name))?;
        }
        fs::copy(builds::module(version), path.join("modules/ngx_http_bx_push_module.so"))?;
        let certificate = Certificate::make(path)?;
        let root = Self { folder, version, certificate };
        for (name, to) in [
            ("load-module.conf", "modules-enabled/50-mod-http-bx-push.conf"),
            ("bx-push.conf", "conf.d/bx-push.conf"),
            ("bx-push-locations.conf", "snippets/bx-push-locations.conf"),
        ] {
            let text = fs::read_to_string(builds::repository().join("nginx-conf").join(name))?;
            let text = root.fitted(&text)?;
            fs::write(root.path().join(to), text)?;
        }
        Ok(root)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What `nginx -t` says to a whole nginx.conf, paths and addresses aside; `Err`: it refuses.
    pub fn try_out(&self, conf: &str) -> io::Result<Result<(), String>> {
        let path = self.path().to_str().expect("UTF-8");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let own = temporary.map(|name| format!("{name}_temp_path {path}/{name};\n")).concat();
        let text = self.fitted(conf)?.replacen("http {\n", &format!("http {{\n{own}"), 1);
        let file = self.path().join("nginx.conf");
        fs::write(&file, format!("pid {path}/nginx.pid;\n{text}"))?;
        let output = nginx::test_file(self.version, self.path(), &file)?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // What an unprivileged user is told, and what 1.25.1 said about the older spelling.
        let known = ["\"user\" directive", "http2\" directive"];
        let warned = told
            .lines()
            .any(|line| line.contains("[warn]") && !known.iter().any(|text| line.contains(text)));
        Ok(if output.status.success() && !warned { Ok(()) } else { Err(told) })
    }

    /// The text with paths and addresses that a test may use; files that it names are made.
    fn fitted(&self, text: &str) -> io::Result<String> {
        let path = self.path().to_str().expect("UTF-8");
        let mut out = String::new();
        let text = text
            .replace("/etc/nginx", path)
            .replace("/var/log/nginx", &format!("{path}/log"))
            .replace("load_module modules/", &format!("load_module {path}/modules/"));
        for line in text.lines() {
            let code = line.split('#').next().unwrap_or_default();
            if code.trim_start().starts_with("pid ") {
                continue;
            }
            let mut line = line.to_owned();
            let words = |directive: &str| {
                let at = code.find(&format!("{directive} "))?;
                let before = code[..at].chars().next_back();
                if before.is_some_and(|c| !c.is_whitespace() && c != '{' && c != ';') {
                    return None;
                }
                code[at + directive.len()..].split([' ', ';']).find(|word| !word.is_empty())
            };
            if let Some(address) = words("listen") {
                let name = address.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                let socket = format!("unix:{path}/{name}.sock");
                line = line.replacen(address, &socket, 1);
            }
            if let Some(file) = words("bx_push_security_key_file") {
                let file = Path::new(file);
                let name = file.strip_prefix(path).unwrap_or(file);
                key_file(
                    self.path(),
                    &name.to_string_lossy(),
                    &"0123456789abcdef".repeat(4),
                    0o600,
                )?;
            }
            if let Some(file) = words("ssl_certificate") {
                fs::copy(&self.certificate.file, self.path().join(file))?;
            }
            if let Some(file) = words("ssl_certificate_key") {
                fs::copy(&self.certificate.key_file, self.path().join(file))?;
            }
            if let Some(file) = words("ssl_session_ticket_key") {
                fs::write(self.path().join(file), [7; 80])?;
            }
            out.push_str(&line);
            out.push('\n');
        }
        Ok(out)
    }
}

/// A whole nginx.conf around what stands in a block of the documentation. The mark behind its
/// language says what that is: `complete`, or the block of nginx.conf that it belongs into.
pub fn whole(mark: &str, text: &str) -> Option<String> {
    let modules = "load_module modules/ngx_http_bx_push_module.so;\nevents {}\n";
    let with = |directive: &str, line: &str| {
        if text.contains(directive) { String::new() } else { format!("{line}\n") }
    };
    let sidecar =
        with("bx_push_sidecar ", "bx_push_sidecar unix:/run/push-server/push-sidecar.sock;");
    let key = with("bx_push_security_key", "bx_push_security_key_file /etc/nginx/bx-push.key;");
    match mark {
        "complete" => Some(text.to_owned()),
        "http" => Some(format!("{modules}http {{\n{sidecar}{key}{text}}}\n")),
        // Beside what the package installs.
        "server" => Some(format!(
            "{modules}http {{\ninclude conf.d/bx-push.conf;\naccess_log off;\n\
             server {{\nlisten 80;\n{text}}}\n}}\n"
        )),
        _ => None,
    }
}
