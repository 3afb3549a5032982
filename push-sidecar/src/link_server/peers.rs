//! Who may be a worker: whoever connects is asked for by the kernel (`SO_PEERCRED`, unix(7)).

use std::fs;
use std::os::unix::fs::MetadataExt;

use tokio::net::UnixStream;

/// See the module.
#[derive(Clone, Debug)]
pub struct Peers {
    /// `None`: everybody.
    allowed: Option<Vec<u32>>,
}

impl Peers {
    /// The users that nginx's workers run as on Debian, with nginx's own packages, and in the
    /// Bitrix environment.
    pub const USUAL: [&str; 3] = ["www-data", "nginx", "bitrix"];

    /// Root, the process's own user and those of `users`: names or numbers, `*` for everybody. Of
    /// [`Self::USUAL`] not all need to be there; a name of any other list that is not is an error.
    pub fn named(users: &[String]) -> Result<Self, String> {
        let file = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::from(users, &file, own_user())
    }

    fn from(users: &[String], passwd: &str, own: u32) -> Result<Self, String> {
        if users.iter().any(|user| user == "*") {
            return Ok(Self { allowed: None });
        }
        let mut allowed = vec![0, own];
        for user in users {
            match user.parse().ok().or_else(|| user_id(user, passwd)) {
                Some(uid) => allowed.push(uid),
                None if users == Self::USUAL => {}
                None => return Err(format!("there is no user {user:?}")),
            }
        }
        Ok(Self { allowed: Some(allowed) })
    }

    /// Whether that user's processes may be workers.
    pub fn includes(&self, uid: u32) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&uid))
    }

    /// Whether the other end may be a worker; if not, who it is.
    pub fn check(&self, stream: &UnixStream) -> Result<(), String> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        match stream.peer_cred() {
            Ok(peer) if allowed.contains(&peer.uid()) => Ok(()),
            Ok(peer) => Err(format!(
                "process {} of user {} is not among socket_users; if it is nginx's worker, add its user there",
                peer.pid().unwrap_or_default(),
                peer.uid()
            )),
            Err(error) => Err(format!("who it is cannot be told: {error}")),
        }
    }
}

/// The user that this process runs as.
fn own_user() -> u32 {
    fs::metadata("/proc/self").map_or(0, |process| process.uid())
}

/// A user's number, from the text of the local user file.
fn user_id(user: &str, passwd: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == user).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/bin/false\n";

    fn from(users: &[&str]) -> Result<Option<Vec<u32>>, String> {
        let users: Vec<String> = users.iter().map(|user| (*user).to_owned()).collect();
        Peers::from(&users, PASSWD, 990).map(|peers| peers.allowed)
    }

    #[test]
    fn users_are_names_or_numbers() {
        assert_eq!(from(&[]), Ok(Some(vec![0, 990])));
        assert_eq!(from(&Peers::USUAL), Ok(Some(vec![0, 990, 33])));
        assert_eq!(from(&["www-data", "1000"]), Ok(Some(vec![0, 990, 33, 1000])));
        assert_eq!(from(&["*"]), Ok(None));
        assert_eq!(
            from(&["nobody-of-that-name"]).map(drop),
            Err("there is no user \"nobody-of-that-name\"".into())
        );
    }

    #[test]
    fn the_kernel_is_asked_who_connects() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (one, _other) = UnixStream::pair().expect("a pair");
            assert_eq!(Peers { allowed: Some(vec![own_user()]) }.check(&one), Ok(()));
            assert_eq!(Peers { allowed: None }.check(&one), Ok(()));
            let told =
                Peers { allowed: Some(vec![4_000_000]) }.check(&one).expect_err("a stranger");
            assert!(told.contains(&std::process::id().to_string()), "{told}");
            assert!(told.contains("socket_users"), "{told}");
        });
    }
}
