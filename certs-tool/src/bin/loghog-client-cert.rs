//! Makes, lists and revokes the certificates of LogHog's clients.

use std::process::ExitCode;

fn main() -> ExitCode {
    loghog_certs::top::run(loghog_certs::client::run)
}
