//! Installations of push-server 0.4.0, moved by `push-sidecar migrate`.
//!
//! [`Installation`] is one of `tests/samples`, moved and started. With `BX_TEST_MIGRATED` in the
//! environment every [`Setup`](crate::Setup) is moved, too: its nginx.conf is turned into one that
//! proxies to push-server, and what `migrate` makes of that is served.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::channel::Key;
use crate::nginx::{Nginx, complaints};
use crate::process::{Process, read_log};
use crate::redis::Redis;
use crate::sidecar::{self, Sidecar};
use crate::{builds, ports, wait};

/// Which of the samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sample {
    /// As the documentation of push-server lays it out.
    Documented,
    /// Changed by hand over the years.
    Field,
}

/// Where the documented files belong.
const DOCUMENTED: [(&str, &str); 7] = [
    ("documented/push-server-multi", "etc/sysconfig/push-server-multi"),
    ("documented/push-server-pub-9010.json", "etc/push-server/push-server-pub-9010.json"),
    ("documented/push-server-sub-8010.json", "etc/push-server/push-server-sub-8010.json"),
    ("nginx.conf", "etc/nginx/nginx.conf"),
    ("documented/nginx-maps-and-upstreams.conf", "etc/nginx/bx/conf/nginx-maps-and-upstreams.conf"),
    ("documented/im_subscrider.conf", "etc/nginx/bx/conf/im_subscrider.conf"),
    ("documented/rtc.conf", "etc/nginx/bx/site_enabled/rtc.conf"),
];

/// A sample, moved and running.
pub struct Installation {
    // In the order in which they must end.
    nginx: Process,
    _sidecar: Sidecar,
    _redis: Redis,
    /// Where browsers come.
    pub public: SocketAddr,
    /// Where the backend comes.
    pub internal: SocketAddr,
    /// Where mobile clients come, if it is the documented one.
    pub mobile: SocketAddr,
    /// The key that was found in the old files.
    pub key: Key,
    /// The configuration that is served, all files of it.
    pub conf: String,
    folder: TempDir,
}

impl Installation {
    /// Moves a sample and starts what comes of it.
    pub fn start(sample: Sample, nginx: Nginx) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("push-migrated-").tempdir()?;
        let old = folder.path().join("old");
        match sample {
            Sample::Field => copy_all(&samples().join("field"), &old)?,
            Sample::Documented => {
                for (from, to) in DOCUMENTED {
                    copy(&samples().join(from), &old.join(to))?;
                }
            }
        }
        let new = folder.path().join("new");
        migrate(&old, &new, &[])?;
        let prefix = folder.path().join("nginx");
        copy_all(&old.join("etc/nginx"), &prefix)?;
        copy_all(&new.join("etc/nginx"), &prefix)?;
        copy(&builds::module(nginx), &prefix.join("modules/ngx_http_bx_push_module.so"))?;
        let key = Key(fs::read_to_string(prefix.join("bx-push.key"))?.trim_end().to_owned());

        let redis = Redis::start(folder.path())?;
        let toml = fs::read_to_string(new.join("etc/push-sidecar/push-sidecar.toml"))?;
        let toml = adapted_toml(&toml, &redis.url());
        let file = folder.path().join("push-sidecar.toml");
        fs::write(&file, toml)?;
        let variables = vec![("BX_PUSH_CONFIG".to_owned(), file.display().to_string())];
        let sidecar = Sidecar::start_with(folder.path(), None, leaked(variables))?;

        let [public, internal, mobile] = [ports::free(), ports::free(), ports::free()];
        let mut conf = String::new();
        for file in all_files(&prefix)? {
            if file.extension().is_some_and(|name| name == "so" || name == "key") {
                continue;
            }
            let text = fs::read_to_string(&file)?;
            let text = adapted_conf(&text, folder.path(), &prefix, [public, internal, mobile]);
            conf += &text;
            fs::write(&file, text)?;
        }
        let tested = crate::nginx::test_file(nginx, &prefix, &prefix.join("nginx.conf"))?;
        let told = String::from_utf8_lossy(&tested.stderr).into_owned();
        assert!(tested.status.success() && !told.contains("[warn]"), "nginx -t: {told}");
        let mut command = Command::new(builds::nginx(nginx));
        command.arg("-p").arg(&prefix).arg("-c").arg(prefix.join("nginx.conf"));
        command.args(["-g", "daemon off;", "-e"]).arg(prefix.join("error.log"));
        let mut process = Process::spawn(&mut command, &folder.path().join("nginx.out"))?;
        wait::until_blocking("nginx is up", wait::SOON, || {
            assert!(process.ended().is_none(), "{}", read_log(&prefix.join("error.log")));
            std::net::TcpStream::connect(internal).is_ok()
        });
        Ok(Self {
            nginx: process,
            _sidecar: sidecar,
            _redis: redis,
            public,
            internal,
            mobile,
            key,
            conf,
            folder,
        })
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.nginx.end_by(Signal::SIGTERM);
        let log = read_log(&self.folder.path().join("nginx/error.log")) + &self.nginx.output();
        if std::thread::panicking() {
            eprintln!("--- nginx\n{log}");
        } else {
            let complaints = complaints(&log);
            assert!(complaints.is_empty(), "nginx complains:\n{}", complaints.join("\n"));
        }
    }
}

fn samples() -> PathBuf {
    builds::repository().join("tests/samples")
}

/// Runs `push-sidecar migrate` on the files below `old`.
fn migrate(old: &Path, new: &Path, args: &[&str]) -> io::Result<()> {
    let mut command = Command::new(builds::sidecar());
    command.arg("migrate").arg("--root").arg(old).arg("--write").arg(new).args(args);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = [output.stdout, output.stderr].concat();
    Err(io::Error::other(format!("migrate: {}", String::from_utf8_lossy(&told))))
}

/// The daemon's file, with a Redis of the test and without a group that this machine may lack.
fn adapted_toml(text: &str, redis: &str) -> String {
    let line = |line: &str| match line.split_once(" = ") {
        Some(("url", _)) => format!("url = \"{redis}\"\n"),
        Some(("socket_group", _)) => String::new(),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// An nginx file, with the machine's paths and ports turned into the test's. Nothing else of what
/// was migrated is changed but the algorithm, since the tests' clients sign with SHA-1.
fn adapted_conf(text: &str, folder: &Path, prefix: &Path, ports: [SocketAddr; 3]) -> String {
    let [public, internal, mobile] = ports;
    let root = nix::unistd::geteuid().is_root();
    let path = prefix.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    // Where nginx writes to by default only root may.
    let temporary = temporary.map(|name| format!("    {name}_temp_path {path}/{name};\n")).concat();
    let temporary = temporary + "    access_log off;\n";
    let line = |line: &str| {
        let words: Vec<_> = line.trim().trim_end_matches(';').split(' ').collect();
        match words[..] {
            ["listen", "80" | "*:80", ..] => format!("    listen {public};\n"),
            ["listen", "127.0.0.1:8895", ..] => format!("    listen {internal};\n"),
            ["listen", "8893", ..] => format!("    listen {mobile};\n"),
            // Not every machine has IPv6.
            ["listen", address, ..] if address.starts_with('[') => String::new(),
            ["user", _] => (if root { "user root;\n" } else { "" }).into(),
            ["bx_push_signature_algorithm", _] => String::new(),
            ["http", "{"] => format!("{line}\n{temporary}"),
            _ => format!("{line}\n"),
        }
    };
    let text: String = text.lines().map(line).collect();
    text.replace(
        "/run/push-server/push-sidecar.sock",
        &sidecar::socket(folder).display().to_string(),
    )
    .replace("/run/nginx.pid", &format!("{path}/nginx.pid"))
    .replace("/etc/nginx/", &format!("{path}/"))
}

/// Environments of a [`Sidecar`] are constants elsewhere. A few bytes for each test.
fn leaked(variables: Vec<(String, String)>) -> Vec<(&'static str, &'static str)> {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    variables.into_iter().map(|(name, value)| (leak(name), leak(value))).collect()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;
    fs::copy(from, to).map(|_| ())
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    for file in all_files(from)? {
        copy(&file, &to.join(file.strip_prefix(from).expect("it is below")))?;
    }
    Ok(())
}

fn all_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(all_files(&path)?);
        } else {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// Whether every setup is to be moved.
pub fn everything() -> bool {
    std::env::var_os("BX_TEST_MIGRATED").is_some()
}

/// A directive of ours in an old file, which `migrate` leaves alone as it does all that it does not
/// know.
const KEPT: &str = "kept_";

/// Takes a configuration with the module back to one that proxies to push-server, moves that, and
/// returns the result: `text` with the locations that `migrate` has written.
pub fn there_and_back(folder: &Path, nginx: Nginx, text: &str) -> io::Result<String> {
    let old = folder.join("old");
    fs::create_dir_all(old.join("etc/nginx"))?;
    fs::create_dir_all(old.join("etc/sysconfig"))?;
    let mut proxying = text.to_owned();
    for role in ["sub", "pub", "rest", "stat"] {
        let upstream = if role == "sub" { "nodejs_sub" } else { "nodejs_pub" };
        let proxied = format!(
            "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
             proxy_read_timeout 43800; proxy_pass http://{upstream};"
        );
        proxying = proxying.replace(&format!("bx_push {role};"), &proxied);
    }
    let upstreams = "http {\n    upstream nodejs_sub { ip_hash; server localhost:8010; }\n    \
                     upstream nodejs_pub { ip_hash; server localhost:9010; }";
    let without = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with("load_module ") && !line.starts_with("bx_push_sidecar ")
    };
    let lines: Vec<_> = proxying.lines().filter(without).collect();
    let proxying = lines.join("\n").replace("bx_push", &format!("{KEPT}bx_push"));
    fs::write(old.join("etc/nginx/nginx.conf"), proxying.replacen("http {", upstreams, 1))?;
    let key = "0123456789abcdef".repeat(4);
    fs::write(old.join("etc/sysconfig/push-server-multi"), format!("SECURITY_KEY={key}\n"))?;
    let new = folder.join("new");
    migrate(&old, &new, &["--force"])?;
    let socket = sidecar::socket(folder).display().to_string();
    let keys = |line: &&str| !line.starts_with("bx_push_security_key_file ");
    let http = fs::read_to_string(new.join("etc/nginx/conf.d/bx-push.conf"))?;
    let http = http.replace("/run/push-server/push-sidecar.sock", &socket);
    // The setup has keys of its own.
    let http: Vec<_> = http.lines().filter(keys).collect();
    fs::create_dir_all(folder.join("conf.d"))?;
    fs::write(folder.join("conf.d/bx-push.conf"), http.join("\n"))?;
    let moved = fs::read_to_string(new.join("etc/nginx/nginx.conf"))?;
    assert!(!moved.contains("proxy_pass http://nodejs"), "not all is moved: {moved}");
    let module = builds::module(nginx).display().to_string();
    Ok(moved.replace(KEPT, "").replace("modules/ngx_http_bx_push_module.so", &module))
}
