//! Makes the CA and the server's certificate of a LogHog installation.

use std::process::ExitCode;

fn main() -> ExitCode {
    loghog_certs::top::run(loghog_certs::server::run)
}
