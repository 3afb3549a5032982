//! Who may connect to a Unix socket: users, groups and modes, by the local files.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A user as the kernel sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The numbers of its groups.
    pub gids: Vec<u32>,
}

impl User {
    /// Who runs this program.
    pub fn own() -> Self {
        Self::from_status(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn from_status(status: &str) -> Self {
        let numbers = |name: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or("").split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        // Real, effective, saved, of the file system.
        let mut gids = numbers("Groups:");
        gids.extend(numbers("Gid:").get(1));
        Self { uid: numbers("Uid:").get(1).copied().unwrap_or_default(), gids }
    }

    /// A user by name or number, with the groups that the local files tell.
    pub fn named(name: &str) -> Option<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::from_files(name, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn from_files(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let fields = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name) || fields.get(2) == Some(&name))?;
        let mut gids = vec![fields.get(3)?.parse().ok()?];
        for line in group.lines() {
            let mut parts = line.split(':').skip(2);
            let (gid, members) =
                (parts.next().and_then(|gid| gid.parse::<u32>().ok()), parts.next());
            if members.is_some_and(|members| members.split(',').any(|member| member == fields[0])) {
                gids.extend(gid);
            }
        }
        Some(Self { uid: fields.get(2)?.parse().ok()?, gids })
    }

    /// The name of its own group, or the number if it has none.
    pub fn group(&self) -> String {
        let gid = self.gids.first().copied().unwrap_or_default().to_string();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let mut lines = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let own = lines.find(|fields| fields.get(2) == Some(&&gid[..]));
        own.map_or(gid.clone(), |fields| fields[0].to_owned())
    }

    /// Whether it has these rights (a digit of a mode) to something of that owner and group.
    pub fn may(&self, rights: u32, uid: u32, gid: u32, mode: u32) -> bool {
        let shift = match (self.uid == uid, self.gids.contains(&gid)) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        self.uid == 0 || (mode >> shift) & rights == rights
    }

    /// The same, to a file.
    pub fn may_file(&self, rights: u32, file: &Metadata) -> bool {
        self.may(rights, file.uid(), file.gid(), file.mode())
    }

    /// The first folder on the way to a file that it may not enter.
    pub fn stopped_at<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
        folders.reverse();
        folders
            .into_iter()
            .find(|folder| fs::metadata(folder).is_ok_and(|folder| !self.may_file(1, &folder)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nodd\nbitrix:x:600:600::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwww-data:x:33:bitrix,nginx\nodd\npush:x:77:bitrixx\n";

    #[test]
    fn users_have_the_groups_of_both_files() {
        let user = |name| User::from_files(name, PASSWD, GROUP);
        assert_eq!(user("bitrix"), Some(User { uid: 600, gids: vec![600, 33] }));
        assert_eq!(user("33"), Some(User { uid: 33, gids: vec![33] }));
        assert_eq!(user("odd"), None);
        assert_eq!(user("nobody-of-that-name"), None);
    }

    #[test]
    fn the_first_that_fits_of_owner_group_and_others_decides() {
        let user = User { uid: 600, gids: vec![600, 33] };
        assert!(user.may(6, 600, 1, 0o600));
        assert!(!user.may(6, 600, 33, 0o060), "the owner is not asked for its group");
        assert!(user.may(6, 1, 33, 0o660));
        assert!(!user.may(6, 1, 1, 0o660));
        assert!(user.may(6, 1, 1, 0o666));
        assert!(User { uid: 0, gids: vec![] }.may(6, 1, 1, 0));
    }

    #[test]
    fn the_own_user_is_the_effective_one() {
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n";
        assert_eq!(User::from_status(status), User { uid: 2, gids: vec![9, 10, 6] });
    }
}
