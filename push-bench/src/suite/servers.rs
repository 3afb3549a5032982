//! The servers that are compared, each with its own configuration, on free ports.
//!
//! What can be equal is equal: worker processes, connections, pools, buffers for request lines,
//! certificate and settings of TLS, how long messages are kept, no access log.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Options;
use super::plan::{Server, Store};
use super::process::{Process, free_address, listening};
use crate::error::{Error, Result};

/// Connections that a worker may have: as many as a process may have files by default here.
const WORKER_CONNECTIONS: usize = 19_900;

/// Where servers live and what they are made of.
#[derive(Debug)]
pub struct Rig {
    options: Options,
    dir: PathBuf,
    started: Cell<usize>,
}

/// A server, until it is dropped.
#[derive(Debug)]
pub struct Running {
    /// How push-bench reaches it, as words of a command line.
    pub options: String,
    // Ended in the order of being started: those in front first.
    _processes: Vec<Process>,
}

impl Rig {
    /// With a key and a certificate in the given folder, which must be empty.
    pub fn new(options: &Options) -> Result<Self> {
        let at = || options.dir.display().to_string();
        let dir = options.dir.canonicalize().map_err(Error::io(at()))?;
        if fs::read_dir(&dir).map_err(Error::io(at()))?.next().is_some() {
            return Err(Error::Usage(format!("{}: is not empty", at())));
        }
        for file in [&options.module, &options.sidecar] {
            if !file.exists() {
                let file = file.display();
                return Err(Error::Usage(format!("no {file}: run 'make build' first")));
            }
        }
        let rig = Self { options: options.clone(), dir, started: Cell::new(0) };
        rig.write("security.key", "0123456789abcdef0123456789abcdef")?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .map_err(|error| Error::Server(format!("making a certificate: {error}")))?;
        rig.write("server.crt", &made.cert.pem())?;
        rig.write("server.key", &made.signing_key.serialize_pem())?;
        Ok(rig)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What nginx complained about, for a message of what went wrong.
    pub fn logs(&self) -> String {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let logs = entries.filter(|one| one.path().extension().is_some_and(|ext| ext == "log"));
        logs.filter_map(|one| fs::read_to_string(one.path()).ok())
            .flat_map(|log| log.lines().rev().take(3).map(str::to_owned).collect::<Vec<_>>())
            .fold(String::new(), |logs, line| logs + &line + "\n")
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(Error::io(path.display().to_string()))?;
        Ok(path)
    }

    /// Starts a server and waits until it is there.
    pub fn start(&self, server: Server) -> Result<Running> {
        let number = self.started.get() + 1;
        self.started.set(number);
        match server {
            Server::Push { store, tls } => self.push(number, store, tls),
            Server::Nchan { store } => self.nchan(number, store),
            Server::Bare { tls } => self.bare(number, tls),
            Server::Floor { tls } => self.floor(number, tls),
        }
    }

    fn push(&self, number: usize, store: Store, tls: bool) -> Result<Running> {
        let (public, internal) = (free_address()?, free_address()?);
        let dir = self.dir.display();
        let socket = self.dir.join(format!("sidecar-{number}.sock"));
        let mut sidecar = Command::new(&self.options.sidecar);
        sidecar.arg("serve").arg("--socket").arg(&socket);
        // As much as nchan gets: a bench publishes more in seconds than a portal in ten minutes.
        sidecar.env("BX_PUSH_MEMORY_MAX_BYTES", (2u64 << 30).to_string());
        let redis = self.redis(number, store)?;
        if let Some((_, _, unix)) = &redis {
            sidecar.args(["--redis", &format!("unix://{}", unix.display())]);
        }
        let sidecar_name = format!("push-sidecar-{number}");
        let mut sidecar = Process::start(&self.dir, &sidecar_name, &mut sidecar)?;
        sidecar.await_ready(|_| socket.exists())?;
        let http = format!(
            "bx_push_sidecar unix:{};
             bx_push_security_key_file {dir}/security.key;
             server {{
                 listen {public}{};
                 location /bitrix/subws/ {{ bx_push sub; }}
                 location /bitrix/sub/ {{ bx_push sub; }}
             }}
             server {{
                 listen {internal};
                 location /bitrix/pub/ {{ bx_push pub; client_body_buffer_size 1m; }}
             }}",
            socket.display(),
            self.tls(tls),
        );
        let module = self.options.module.clone();
        let nginx = self.nginx(number, Some(&module), &http, [public, internal])?;
        let scheme = if tls { "https" } else { "http" };
        let mut options = format!(
            "--name push --public {scheme}://{public} --internal http://{internal} \
             --key-file {dir}/security.key --pids {},{}",
            nginx.pid(),
            sidecar.pid(),
        );
        let mut processes = vec![nginx, sidecar];
        if let Some((redis, _, _)) = redis {
            let _ = write!(options, ",{}", redis.pid());
            processes.push(redis);
        }
        Ok(Running { options, _processes: processes })
    }

    fn nchan(&self, number: usize, store: Store) -> Result<Running> {
        let (public, internal) = (free_address()?, free_address()?);
        let redis = self.redis(number, store)?;
        let (upstream, pass) = match &redis {
            Some((_, address, _)) => (
                format!("upstream store {{ nchan_redis_server redis://{address}; }}"),
                "nchan_redis_pass store;",
            ),
            None => (String::new(), ""),
        };
        let http = format!(
            "{upstream}
             nchan_message_timeout 600s;
             nchan_message_buffer_length 100;
             # By default it refuses what is more than 128 MB.
             nchan_shared_memory_size 2g;
             server {{
                 listen {public};
                 location = /sub {{
                     nchan_subscriber websocket longpoll;
                     nchan_channel_id $arg_a $arg_b $arg_c;
                     nchan_subscriber_first_message newest;
                     {pass}
                 }}
             }}
             server {{
                 listen {internal};
                 location = /pub {{
                     nchan_publisher http;
                     nchan_channel_id $arg_id;
                     client_body_buffer_size 1m;
                     {pass}
                 }}
             }}",
        );
        let module = self.options.nchan.clone();
        let nginx = self.nginx(number, Some(&module), &http, [public, internal])?;
        let listen = "?a={private}&b={public}&c={shared}&last_event_id={mid}";
        let mut options = format!(
            "--name nchan --wire nchan --sub-template http://{public}/sub{listen} \
             --poll-template http://{public}/sub{listen} \
             --pub-template http://{internal}/pub?id={{channel}} --pids {}",
            nginx.pid(),
        );
        let mut processes = vec![nginx];
        if let Some((redis, _, _)) = redis {
            let _ = write!(options, ",{}", redis.pid());
            processes.push(redis);
        }
        Ok(Running { options, _processes: processes })
    }

    /// nginx without any module: what holds connections that were answered once.
    fn bare(&self, number: usize, tls: bool) -> Result<Running> {
        let public = free_address()?;
        let http = format!(
            "keepalive_timeout 1h;
             server {{
                 listen {public}{};
                 location / {{ return 200 held; }}
             }}",
            self.tls(tls),
        );
        let nginx = self.nginx(number, None, &http, [public])?;
        let scheme = if tls { "https" } else { "http" };
        let options = format!(
            "--name nginx --hold --public {scheme}://{public} --internal {scheme}://{public} --pids {}",
            nginx.pid()
        );
        Ok(Running { options, _processes: vec![nginx] })
    }

    fn floor(&self, number: usize, tls: bool) -> Result<Running> {
        let address = free_address()?;
        let me = std::env::current_exe().map_err(Error::io("myself"))?;
        let mut floor = Command::new(me);
        floor.args(["floor", "--listen", &address.to_string()]);
        if tls {
            floor.arg("--tls-certificate").arg(self.dir.join("server.crt"));
            floor.arg("--tls-key").arg(self.dir.join("server.key"));
        }
        let mut floor = Process::start(&self.dir, &format!("floor-{number}"), &mut floor)?;
        floor.await_ready(|floor| floor.said().contains("floor listens on"))?;
        let scheme = if tls { "https" } else { "http" };
        let options = format!(
            "--name floor --public {scheme}://{address} --internal {scheme}://{address} --pids {}",
            floor.pid()
        );
        Ok(Running { options, _processes: vec![floor] })
    }

    /// A Redis that keeps nothing on disk, on a port and on a Unix socket.
    fn redis(&self, number: usize, store: Store) -> Result<Option<(Process, SocketAddr, PathBuf)>> {
        if store == Store::Memory {
            return Ok(None);
        }
        let address = free_address()?;
        let socket = self.dir.join(format!("redis-{number}.sock"));
        let mut redis = Command::new(&self.options.redis);
        redis.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
        redis.arg(&self.dir).args(["--port", &address.port().to_string(), "--unixsocket"]);
        redis.arg(&socket);
        let mut redis = Process::start(&self.dir, &format!("redis-{number}"), &mut redis)?;
        redis.await_ready(|_| listening(address) && socket.exists())?;
        Ok(Some((redis, address, socket)))
    }

    /// What `listen` and a server's block have for TLS.
    fn tls(&self, tls: bool) -> String {
        if !tls {
            return String::new();
        }
        let dir = self.dir.display();
        format!(
            " ssl;
             ssl_certificate {dir}/server.crt;
             ssl_certificate_key {dir}/server.key;
             ssl_session_cache off;
             ssl_session_tickets off"
        )
    }

    fn nginx<const N: usize>(
        &self,
        number: usize,
        module: Option<&Path>,
        http: &str,
        addresses: [SocketAddr; N],
    ) -> Result<Process> {
        let dir = self.dir.display();
        let module = match module {
            Some(file) => {
                let at = || file.display().to_string();
                let file = file.canonicalize().map_err(Error::io(at()))?;
                format!("load_module {};", file.display())
            }
            None => String::new(),
        };
        let root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
        let user = if root { "user root;" } else { "" };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let text = format!(
            "{module}
             {user}
             daemon off;
             worker_processes {workers};
             worker_rlimit_nofile 20000;
             pid {dir}/nginx-{number}.master;
             error_log {dir}/nginx-{number}.error.log warn;
             events {{ worker_connections {WORKER_CONNECTIONS}; }}
             http {{
                 access_log off;
                 server_tokens off;
                 large_client_header_buffers 4 16k;
                 connection_pool_size 384;
                 keepalive_requests 100000000;
                 client_body_temp_path {dir}/body;
                 proxy_temp_path {dir}/proxy;
                 fastcgi_temp_path {dir}/fastcgi;
                 uwsgi_temp_path {dir}/uwsgi;
                 scgi_temp_path {dir}/scgi;
                 {http}
             }}\n"
        );
        let config = self.write(&format!("nginx-{number}.conf"), &text)?;
        let mut nginx = Command::new(&self.options.nginx);
        nginx.arg("-p").arg(&self.dir).arg("-c").arg(config);
        nginx.arg("-e").arg(self.dir.join(format!("nginx-{number}.error.log")));
        let mut nginx = Process::start(&self.dir, &format!("nginx-{number}"), &mut nginx)?;
        nginx.await_ready(|_| addresses.iter().all(|address| listening(*address)))?;
        Ok(nginx)
    }
}
