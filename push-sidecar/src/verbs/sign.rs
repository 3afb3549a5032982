//! `push-sidecar sign`: the signed list of channels as a portal gives it to a browser.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use push_protocol::hex;

use super::keys;

/// Options of `sign`.
#[derive(Args, Debug)]
pub struct Sign {
    /// Private ids, or pairs PRIVATE:PUBLIC. What is signed already stays as it is.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// The ids are public ones: print the signature that a client's publication needs, a line each.
    #[arg(long)]
    public: bool,
    #[command(flatten)]
    key: keys::Options,
}

/// Signs, and prints the value of `CHANNEL_ID`.
pub fn run(options: &Sign) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let signer = options.key.signer()?;
    let entries: Result<Vec<String>, String> = options
        .channels
        .iter()
        .map(|channel| {
            if !options.public {
                return keys::signed(channel, &signer);
            }
            let id = hex::decode_id(channel.as_bytes()).ok_or_else(|| {
                format!("\"{channel}\" is no public id: 32 lower-case hex digits")
            })?;
            let signature = signer.sign_public(&id).ok_or("no key")?;
            Ok(hex::encode(&signature))
        })
        .collect();
    let text = entries?.join(if options.public { "\n" } else { "/" });
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
