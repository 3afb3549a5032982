//! What operators type: one file a verb.
//!
//! | module | what |
//! |---|---|
//! | [`check`] | whether the daemon can work with what it is given |
//! | [`findings`] | what is told line by line, for people and for programs. Pure |
//! | [`nginx_conf`] | what nginx's files say of all this |
//! | [`access`] | who may connect to a socket |

pub mod access;
pub mod check;
pub mod findings;
pub mod nginx_conf;
