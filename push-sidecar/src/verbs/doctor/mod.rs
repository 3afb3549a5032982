//! `push-sidecar doctor`: walks the whole way of a message like a portal and its browsers. It changes
//! nothing; what it publishes goes to channels that nobody else has, and is not kept.
//!
//! | module | what |
//! |---|---|
//! | [`portal`], [`key`] | the portal's `.settings.php`, and its key against the server's |
//! | [`walk`] | publishing and receiving, by WebSocket and by long poll |
//! | [`front`] | what a proxy in front may do: short request lines, cuts, paths too many |
//! | [`outside`] | whether other machines reach the internal address |

mod front;
mod key;
mod outside;
mod portal;
mod walk;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use push_protocol::signature::Verifier;
use url::Url;

use super::client::dial;
use super::findings::Findings;
use super::nginx_conf::{Location, NginxConf};
use super::sites::{self, Site};
use super::{keys, runtime};
use crate::cli;
use crate::control::{self, Answer, Question};
use key::ServerKey;
use portal::Portal;

/// Options of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// The portal's .settings.php, usually …/bitrix/.settings.php; it is read, not executed. Without
    /// it what depends on the portal is skipped.
    #[arg(long, value_name = "PATH")]
    settings: Option<PathBuf>,
    /// The address of browsers, such as <https://portal.example/>; without it every server block of
    /// nginx.conf that has locations with `bx_push sub`, by loopback.
    #[arg(long, value_name = "URL")]
    public: Option<String>,
    /// Connect there whatever the name in --public says, as if the DNS said so.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "public")]
    connect: Option<SocketAddr>,
    /// The address that the portal publishes to; without it that of .settings.php or of nginx.conf.
    #[arg(long, value_name = "URL")]
    internal: Option<String>,
    /// An address of this machine that others reach, by which the internal address must not answer;
    /// may be repeated. Without it those of all interfaces but loopback.
    #[arg(long, value_name = "ADDRESS")]
    outside: Vec<IpAddr>,
    /// Stay quiet for so long, to see whether something in between cuts a WebSocket or a long poll:
    /// 150 covers the server's ping every 120 s.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u32>,
    /// Configuration file (TOML) of the daemon; without it defaults and the environment count.
    #[arg(long, value_name = "FILE", env = "BX_PUSH_CONFIG")]
    config: Option<PathBuf>,
    /// The Unix socket of the daemon; without it that of nginx.conf or of the configuration.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Warnings are as bad as errors.
    #[arg(long)]
    strict: bool,
    /// One object of JSON instead of lines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: keys::Options,
}

/// Looks, prints and tells the exit status.
pub fn run(options: &Doctor) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let findings = runtime()?.block_on(options.look())?;
    let text = if options.json { findings.json() } else { findings.text() };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(findings.status(options.strict))
}

/// What is known of the server and the portal.
struct Ground {
    conf: NginxConf,
    portal: Option<Portal>,
    /// Who signs like the portal; `None`: no key is known.
    signer: Option<Verifier>,
    internal: Url,
    /// Whether a publication was taken.
    publishes: bool,
}

impl Doctor {
    async fn look(&self) -> Result<Findings, Box<dyn std::error::Error>> {
        let mut findings = Findings::default();
        let told = &mut findings;
        let conf = self.nginx(told);
        self.daemon(&conf, told);
        let portal = match &self.settings {
            None => {
                told.skipped("portal settings", "--settings is not given", "the key of the portal and its addresses were not looked at; give --settings …/bitrix/.settings.php");
                None
            }
            Some(path) => Portal::read(path, told),
        };
        if let Some(portal) = &portal {
            portal.check(&conf, told);
        }
        let theirs = portal.as_ref().and_then(Portal::signer);
        let server = self.server_key(&conf, theirs.as_ref());
        server.tell(told);
        if let Some(portal) = portal.as_ref().filter(|_| !server.keys.is_empty()) {
            portal.compare_key(&server, told);
        }
        let internal = self.internal(&conf, portal.as_ref())?;
        let signer = theirs.clone().or(server.signer());
        let mut ground = Ground { conf, portal, signer, internal, publishes: false };
        ground.publishes = walk::publish(&ground, told).await;
        let outside =
            if self.outside.is_empty() { outside::interfaces() } else { self.outside.clone() };
        outside::check(&ground, &outside, told).await;
        let is_theirs = theirs.as_ref().is_some_and(|signer| server.verifies(signer).is_some());
        for site in &self.sites(&ground, told)? {
            // Other portals on this host have keys of their own.
            let own = ServerKey::of(&self.key, site.location.as_ref());
            ground.signer = match &theirs {
                Some(theirs) if !is_theirs || own.verifies(theirs).is_some() => {
                    Some(theirs.clone())
                }
                _ => own.signer().or(server.signer()),
            };
            let Some(dialler) = walk::certificate(site, told).await else { continue };
            walk::websocket(&ground, site, &dialler, told).await;
            walk::poll(&ground, site, &dialler, told).await;
            front::long_list(&ground, site, &dialler, told).await;
            front::trusted_paths(&ground, site, &dialler, told).await;
            match self.idle {
                Some(seconds) => front::idle(&ground, site, &dialler, seconds, told).await,
                None => told.skipped("idle", site.url.as_str(), "whether a proxy in front cuts what is quiet takes time to see: give --idle 150"),
            }
        }
        Ok(findings)
    }

    fn nginx(&self, told: &mut Findings) -> NginxConf {
        let Some((path, conf)) = self.key.nginx_conf() else {
            told.error(
                "nginx",
                "/etc/nginx",
                "there is no such folder",
                "give nginx.conf by --nginx PATH, or install nginx with the module here",
            );
            return NginxConf::default();
        };
        let tried = path.display().to_string();
        for problem in &conf.problems {
            told.warning(
                "nginx",
                &tried,
                problem,
                "what is in that file is not known here: run this as root, and see nginx -t",
            );
        }
        let roles = |role| conf.of_role(role).count();
        if conf.locations.is_empty() {
            told.error("nginx", tried, "no location with bx_push", "load_module modules/ngx_http_bx_push_module.so; and, in the portal's server block:\ninclude snippets/bx-push-locations.conf;");
        } else if roles("pub") == 0 {
            told.error("nginx", tried, "no location with bx_push pub: the portal cannot publish", "a server for the portal alone, as in nginx-conf/bx-push.conf:\nserver { listen 127.0.0.1:8895; location /bitrix/pub/ { bx_push pub; } }");
        } else {
            let [subs, pubs] = ["sub", "pub"].map(roles);
            told.ok(
                "nginx",
                tried,
                format!("{subs} locations for subscribers, {pubs} for publishing"),
            );
        }
        conf
    }

    fn daemon(&self, conf: &NginxConf, told: &mut Findings) {
        let options = cli::Options {
            config: self.config.clone(),
            socket: self.socket.clone(),
            ..cli::Options::default()
        };
        let socket = match (options.effective(), &conf.sidecar) {
            (Err(error), _) => {
                return told.error(
                    "daemon",
                    "its configuration",
                    error.to_string(),
                    "push-sidecar check tells more",
                );
            }
            (Ok(_), Some(socket)) if self.socket.is_none() && self.config.is_none() => {
                socket.clone()
            }
            (Ok(config), _) => config.socket,
        };
        let tried = socket.display().to_string();
        match control::ask(&socket, Question::Health, control::PATIENCE) {
            Ok(Answer::Health(report)) => {
                for part in report.parts.iter().filter(|part| !part.ok) {
                    let problem = part.problem.clone().unwrap_or_default();
                    told.error("daemon", format!("{tried}, {}", part.name), problem, &part.detail);
                }
                if report.is_healthy() {
                    told.ok("daemon", tried, format!("push-sidecar {} works", report.software));
                }
            }
            Ok(other) => {
                let found = format!("answers something else: {other:?}");
                told.error("daemon", tried, found, "push-sidecar health tells more");
            }
            Err(error) => told.error(
                "daemon",
                tried,
                error.to_string(),
                "systemctl status push-sidecar; journalctl -u push-sidecar",
            ),
        }
    }

    /// The keys of the location for subscribers whose key is the portal's, or of the first.
    fn server_key(&self, conf: &NginxConf, portal: Option<&Verifier>) -> ServerKey {
        let fits = |location: &&Location| {
            let server = ServerKey::of(&self.key, Some(location));
            portal.is_some_and(|portal| server.verifies(portal).is_some())
        };
        let location = conf.of_role("sub").find(fits);
        let first = || conf.of_role("sub").next().or_else(|| conf.locations.first());
        ServerKey::of(&self.key, location.or_else(first))
    }

    fn internal(&self, conf: &NginxConf, portal: Option<&Portal>) -> Result<Url, dial::Failure> {
        if let Some(url) = &self.internal {
            let mut url = dial::address(url)?;
            if url.path() == "/" {
                url.set_path("/bitrix/pub/");
            }
            return Ok(url);
        }
        let told = portal.and_then(|portal| dial::address(&portal.value("path_to_publish")?).ok());
        told.or_else(|| sites::internal(conf)).map_or_else(|| dial::address(sites::INTERNAL), Ok)
    }

    /// The public addresses to walk.
    fn sites(&self, ground: &Ground, told: &mut Findings) -> Result<Vec<Site>, dial::Failure> {
        let mut sites = sites::public(&ground.conf);
        if let Some(public) = &self.public {
            let url = dial::address(public)?;
            let known = sites.into_iter().find(|site| site.url.host_str() == url.host_str());
            let path = (url.path() != "/").then(|| url.path().to_owned());
            let or = |known: Option<String>, usual: &str| {
                path.clone().or(known).unwrap_or_else(|| usual.to_owned())
            };
            let portal = |name| ground.portal.as_ref()?.path(name);
            let paths = known.as_ref().map(|site| (site.websocket.clone(), site.poll.clone()));
            let (websocket, poll) = paths.unzip();
            sites = vec![Site {
                connect: self.connect,
                named: true,
                websocket: or(portal("path_to_websocket_secure").or(websocket), "/bitrix/subws/"),
                poll: or(portal("path_to_modern_listener_secure").or(poll), "/bitrix/sub/"),
                location: known.and_then(|site| site.location),
                url,
            }];
        }
        if sites.is_empty() {
            let tried = "nginx.conf and --public";
            let remedy = "in the portal's server block:\ninclude snippets/bx-push-locations.conf;";
            if ground.portal.is_some() {
                told.error(
                    "public address",
                    tried,
                    "no server block has a location with bx_push sub: browsers cannot subscribe",
                    remedy,
                );
            } else {
                told.skipped("public address", tried, "no server block has a location with bx_push sub yet; in the portal's: include snippets/bx-push-locations.conf;");
            }
        }
        // As many as anybody wants to read about.
        sites.truncate(16);
        Ok(sites)
    }
}

/// A path as the findings show it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
