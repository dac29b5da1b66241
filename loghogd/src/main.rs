//! The daemon's process: the command line in, an exit code out.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(loghogd::cli::main())
}
