//! Redis: whether it can be reached and written to, its version, what it may lose, its clock.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisError, ServerErrorKind};
use tokio::time::timeout;

use crate::config::hide_password;
use crate::store::redis::{RedisOptions, client, known_remedy};
use crate::surroundings::unix_time;
use crate::verbs::findings::Findings;

/// The first with `ZRANDMEMBER`, and with the rest of what is used.
const OLDEST: (u32, u32) = (6, 2);
/// A clock that is further off than this is told, seconds.
const CLOCK: f64 = 2.0;
/// Percent of `maxmemory` at which it is time to do something.
const NEARLY_FULL: u64 = 80;

/// What a Redis says of itself.
#[derive(Clone, Default, Debug)]
struct Facts {
    /// `INFO`.
    info: BTreeMap<String, String>,
    /// `CONFIG GET save`; `None`: it may not be asked.
    save: Option<String>,
    /// Its clock against ours, seconds.
    ahead: Option<f64>,
    /// What became of a write.
    write: Option<String>,
    /// What became of a script.
    script: Option<String>,
}

pub(super) async fn check(options: &RedisOptions, before_start: bool, findings: &mut Findings) {
    let url = hide_password(&options.url);
    let client = match client(&options.url) {
        Ok(client) => client,
        Err(error) => {
            let remedy = "redis.url = \"unix:///run/redis/redis.sock\", or redis://[user:password@]host[:port][/db]";
            return findings.error("redis", url, error.to_string(), remedy);
        }
    };
    let limit = options.command_timeout;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit));
    let dialling = client.get_multiplexed_async_connection_with_config(&config);
    // What dialling waits for besides an answer has no limit of its own.
    let mut connection = match timeout(limit, dialling).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return unreachable(&url, &error, before_start, findings),
        Err(_) => {
            let error = RedisError::from((ErrorKind::Io, "no answer", format!("within {limit:?}")));
            return unreachable(&url, &error, before_start, findings);
        }
    };
    match ask(&mut connection).await {
        Ok(facts) => {
            findings.ok("redis", url, "answers");
            judge(&facts, findings);
        }
        Err(error) => unreachable(&url, &error, before_start, findings),
    }
}

fn unreachable(url: &str, error: &RedisError, before_start: bool, findings: &mut Findings) {
    let told = error.to_string();
    let passes = match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => false,
        // NOAUTH, NOPERM: no waiting helps.
        ErrorKind::Extension | ErrorKind::Server(ServerErrorKind::ResponseError) => {
            !["NOAUTH", "NOPERM", "WRONGPASS"].iter().any(|code| told.contains(code))
        }
        _ => true,
    };
    let remedy = if passes {
        known_remedy(&told).unwrap_or(
            "see that Redis runs (systemctl status redis-server), that redis.url names it, and that this user may use its socket (usermod -aG redis push-server)",
        )
    } else {
        "give redis.url the user and password that Redis wants: redis://user:password@host:port, or unix:///path?user=…&pass=…"
    };
    if passes && before_start {
        findings.warning(
            "redis",
            url,
            format!("{told}; publishes get 503 until it is back"),
            remedy,
        );
    } else {
        findings.error("redis", url, told, remedy);
    }
}

async fn ask(connection: &mut MultiplexedConnection) -> Result<Facts, RedisError> {
    let mut facts = Facts::default();
    let text: String = redis::cmd("INFO").query_async(connection).await?;
    facts.info = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    // Hosted ones forbid it.
    let save: Result<Vec<String>, _> =
        redis::cmd("CONFIG").arg("GET").arg("save").query_async(connection).await;
    facts.save = save.ok().and_then(|pair| pair.into_iter().nth(1));
    let before = unix_time();
    if let Ok((seconds, micros)) = redis::cmd("TIME").query_async::<(u64, u32)>(connection).await {
        let there = Duration::new(seconds, micros * 1000).as_secs_f64();
        // It looked at its clock in the middle, as far as one knows.
        facts.ahead = Some(there - f64::midpoint(before.as_secs_f64(), unix_time().as_secs_f64()));
    }
    let mut write = redis::cmd("SET");
    write.arg("bxpush:alive").arg("1").arg("EX").arg("60");
    facts.write = refusal(&write, connection).await;
    let mut script = redis::cmd("EVAL");
    script.arg("return redis.call('TTL', 'bxpush:alive')").arg("0");
    facts.script = refusal(&script, connection).await;
    Ok(facts)
}

async fn refusal(command: &Cmd, connection: &mut MultiplexedConnection) -> Option<String> {
    command.exec_async(connection).await.err().map(|error| error.to_string())
}

fn judge(facts: &Facts, findings: &mut Findings) {
    let text = |name: &str| facts.info.get(name).map_or("", String::as_str);
    let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
    version(text("redis_version"), findings);
    match (&facts.write, &facts.script) {
        (None, None) => findings.ok("redis writes", "SET, EVAL", "taken"),
        (refused, script) => {
            let told = refused.as_ref().or(script.as_ref()).map_or("", String::as_str);
            let remedy = known_remedy(told).unwrap_or(
                "let this user run scripts, publish, subscribe, and use all keys: ACL SETUSER <name> ~* &* +@all -@admin -@dangerous +info +keys",
            );
            let tried = if refused.is_some() { "SET" } else { "EVAL" };
            findings.error("redis writes", tried, told, remedy);
        }
    }
    if text("cluster_enabled") == "1" {
        findings.error(
            "redis cluster",
            "INFO",
            "a cluster: a publish writes keys of several slots in one step, which a cluster refuses",
            "point redis.url at a Redis without cluster-enabled; replicas of it are fine",
        );
    }
    eviction(text("maxmemory_policy"), number("maxmemory"), number("used_memory"), findings);
    persistence(facts, text("aof_enabled") == "1", findings);
    for (name, what) in [
        ("rdb_last_bgsave_status", "the last snapshot"),
        ("aof_last_write_status", "the last write to the append-only file"),
    ] {
        if text(name) == "err" {
            findings.warning(
                "redis disk",
                format!("INFO {name}"),
                format!("{what} failed: a restart of Redis brings back what is older, and it may refuse writes"),
                "see Redis' log: most often the disk is full, or its folder is not its own",
            );
        }
    }
    match facts.ahead {
        None => findings.skipped("clock", "TIME", "this user may not ask for it"),
        Some(ahead) if ahead.abs() > CLOCK => {
            let direction = if ahead > 0.0 { "ahead" } else { "behind" };
            findings.warning(
                "clock",
                "TIME",
                format!("Redis' clock is {:.1} s {direction}: statistics and the times of messages are off, and other hosts on it may be taken for ended", ahead.abs()),
                "let both machines take the time from the network: timedatectl set-ntp true",
            );
        }
        Some(ahead) => findings.ok("clock", "TIME", format!("{:.0} ms off", ahead.abs() * 1e3)),
    }
}

fn version(version: &str, findings: &mut Findings) {
    const PART: &str = "redis version";
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => {
            findings.ok(PART, "INFO redis_version", version);
        }
        (Some(Ok(_)), Some(Ok(_))) => findings.error(
            PART,
            "INFO redis_version",
            format!("{version}: scripts use commands that it does not have"),
            format!("install Redis {}.{} or later (Debian 12 has 7.0)", OLDEST.0, OLDEST.1),
        ),
        _ => findings.warning(
            PART,
            "INFO redis_version",
            format!("not told ({version:?})"),
            format!("see that it does what Redis {}.{} does", OLDEST.0, OLDEST.1),
        ),
    }
}

fn eviction(policy: &str, max: u64, used: u64, findings: &mut Findings) {
    const PART: &str = "redis memory";
    let tried = format!("maxmemory {}, maxmemory-policy {policy}", megabytes(max));
    if max == 0 {
        return findings.ok(PART, tried, format!("{} used, nothing is dropped", megabytes(used)));
    }
    if policy != "noeviction" {
        return findings.warning(
            PART,
            tried,
            format!("past {} Redis drops what it likes: messages that clients have not fetched, queues of channels, online marks; nobody is told", megabytes(max)),
            "in redis.conf: maxmemory-policy noeviction\nand at once: redis-cli CONFIG SET maxmemory-policy noeviction",
        );
    }
    if used.saturating_mul(100) >= max.saturating_mul(NEARLY_FULL) {
        return findings.warning(
            PART,
            tried,
            format!("{} used: when it is full publishes get 503 and are lost unless the portal repeats them", megabytes(used)),
            format!("in redis.conf: maxmemory {}mb\nand at once: redis-cli CONFIG SET maxmemory {0}mb", (max >> 20).max(1) * 2),
        );
    }
    findings.ok(
        PART,
        tried,
        format!("{} used; when it is full publishes get 503", megabytes(used)),
    );
}

fn megabytes(bytes: u64) -> String {
    if bytes == 0 { "0".into() } else { format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)) }
}

fn persistence(facts: &Facts, append_only: bool, findings: &mut Findings) {
    const PART: &str = "redis persistence";
    match &facts.save {
        _ if append_only => findings.ok(PART, "appendonly", "on: a restart of Redis loses the last second at most"),
        None => findings.skipped(PART, "CONFIG GET save", "this user may not ask for it, and appendonly is off"),
        Some(save) if save.is_empty() => findings.warning(
            PART,
            "appendonly, save",
            "both off: when Redis restarts, every message that a client has not fetched yet is lost. Who is connected stays so",
            "in redis.conf: appendonly yes\nand at once: redis-cli CONFIG SET appendonly yes",
        ),
        Some(save) => findings.ok(
            PART,
            "save",
            format!("snapshots ({save}): a crash of Redis loses the messages since the last one that nobody has fetched; appendonly yes keeps them"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::findings::{Finding, Level};

    fn facts(changes: &[(&str, &str)]) -> Facts {
        let usual = [
            ("redis_version", "7.0.15"),
            ("maxmemory", "0"),
            ("maxmemory_policy", "noeviction"),
            ("used_memory", "1000000"),
            ("aof_enabled", "1"),
        ];
        let pairs = usual.iter().chain(changes);
        Facts {
            info: pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            save: Some(String::new()),
            ahead: Some(0.001),
            ..Facts::default()
        }
    }

    /// What is not as it should be.
    fn told(facts: &Facts) -> Vec<Finding> {
        let mut findings = Findings::default();
        judge(facts, &mut findings);
        findings.list().iter().filter(|finding| finding.level != Level::Ok).cloned().collect()
    }

    #[track_caller]
    fn one(facts: &Facts, level: Level, found: &str, remedy: &str) {
        let told = told(facts);
        assert_eq!((told.len(), told[0].level), (1, level), "{told:?}");
        assert!(told[0].found.contains(found), "{told:?}");
        assert!(told[0].remedy.as_deref().unwrap_or("").contains(remedy), "{told:?}");
    }

    #[test]
    fn a_usual_redis_is_fine() {
        assert_eq!(told(&facts(&[])), []);
        let snapshots =
            Facts { save: Some("3600 1 300 100".into()), ..facts(&[("aof_enabled", "0")]) };
        assert_eq!(told(&snapshots), []);
        assert_eq!(told(&facts(&[("redis_version", "6.2.0"), ("maxmemory", "100000000")])), []);
        // Without a limit no policy drops anything.
        assert_eq!(told(&facts(&[("maxmemory_policy", "allkeys-lru")])), []);
    }

    #[test]
    fn old_versions_do_not_do() {
        for old in ["5.0.7", "6.0.16", "6.1.240"] {
            one(&facts(&[("redis_version", old)]), Level::Error, old, "6.2 or later");
        }
        one(&facts(&[("redis_version", "")]), Level::Warning, "not told", "6.2");
        one(&facts(&[("redis_version", "unstable")]), Level::Warning, "unstable", "6.2");
    }

    #[test]
    fn what_may_be_lost_is_told() {
        for policy in ["allkeys-lru", "volatile-ttl"] {
            let facts = facts(&[("maxmemory", "104857600"), ("maxmemory_policy", policy)]);
            one(
                &facts,
                Level::Warning,
                "past 100.0 MiB Redis drops",
                "CONFIG SET maxmemory-policy noeviction",
            );
        }
        let full = facts(&[("maxmemory", "1048576"), ("used_memory", "838861")]);
        one(&full, Level::Warning, "0.8 MiB used", "CONFIG SET maxmemory 2mb");
        one(&facts(&[("aof_enabled", "0")]), Level::Warning, "both off", "appendonly yes");
        let unknown = Facts { save: None, ..facts(&[("aof_enabled", "0")]) };
        one(&unknown, Level::Skipped, "may not ask", "");
        let failed = facts(&[("rdb_last_bgsave_status", "err")]);
        one(&failed, Level::Warning, "the last snapshot failed", "disk");
    }

    #[test]
    fn a_redis_that_cannot_do_the_work_is_an_error() {
        let replica = Some("READONLY: You can't write against a read only replica.".to_owned());
        one(&Facts { write: replica, ..facts(&[]) }, Level::Error, "READONLY", "its master");
        let forbidden = Some("NOPERM: this user has no permissions".to_owned());
        one(&Facts { script: forbidden, ..facts(&[]) }, Level::Error, "NOPERM", "ACL SETUSER");
        one(
            &facts(&[("cluster_enabled", "1")]),
            Level::Error,
            "a cluster",
            "without cluster-enabled",
        );
    }

    #[test]
    fn clocks_may_differ_a_little() {
        one(&Facts { ahead: Some(75.3), ..facts(&[]) }, Level::Warning, "75.3 s ahead", "set-ntp");
        one(&Facts { ahead: Some(-3.0), ..facts(&[]) }, Level::Warning, "3.0 s behind", "set-ntp");
        assert_eq!(told(&Facts { ahead: Some(-1.5), ..facts(&[]) }), []);
    }
}
