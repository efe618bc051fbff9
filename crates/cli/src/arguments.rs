//! Flags and environment, checked and brought together. A flag wins over the environment.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use stvor_relay::{Config, Limits};

/// Port when neither a flag nor the environment names one.
const DEFAULT_PORT: u16 = 4444;

/// End-to-end encrypted messaging: tools of @stvor/sdk.
#[derive(Debug, Parser)]
#[command(name = "stvor", bin_name = "stvor", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Flags,
}

#[derive(Debug, Subcommand)]
enum Flags {
    /// Runs a relay for development: WebSocket and HTTP on one port, everything in memory.
    ///
    /// It routes and stores encrypted messages and cannot read them. The port is --port, else
    /// STVOR_MOCK_PORT, else PORT, else 4444. STVOR_MOCK_VERBOSE=1 is --verbose.
    MockRelay(MockRelayFlags),
}

#[derive(Debug, Args)]
struct MockRelayFlags {
    /// Port to listen on; 0 finds a free one and prints it.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Address to listen on, repeatable [default: 127.0.0.1 and ::1].
    #[arg(long, value_name = "ADDRESS")]
    host: Vec<IpAddr>,
    /// Log what happens, with user ids, to standard error. Never contents or keys.
    #[arg(long)]
    verbose: bool,
    /// What an accepted token begins with, repeatable; empty for any token [default: stvor_].
    #[arg(long, value_name = "PREFIX")]
    token_prefix: Vec<String>,
    /// What to print once it listens: a banner, or one line of JSON for programs.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Stop when standard input is closed, as it is when the parent process ends.
    #[arg(long)]
    exit_on_stdin_close: bool,
    #[command(flatten, next_help_heading = "Limits")]
    limits: LimitFlags,
}

/// Limits that have a flag. The rest of [`Limits`] needs none for development.
#[derive(Debug, Args)]
struct LimitFlags {
    /// Largest WebSocket message and HTTP body, in bytes [default: 1048576].
    #[arg(long, value_name = "BYTES")]
    max_frame_bytes: Option<usize>,
    /// Messages waiting for one user [default: 10000].
    #[arg(long, value_name = "N")]
    max_mailbox_messages: Option<usize>,
    /// Bytes waiting for one user [default: 67108864].
    #[arg(long, value_name = "BYTES")]
    max_mailbox_bytes: Option<usize>,
    /// Longest user id, in bytes [default: 256].
    #[arg(long, value_name = "BYTES")]
    max_user_id_bytes: Option<usize>,
    /// Users known at a time [default: 10000].
    #[arg(long, value_name = "N")]
    max_users: Option<usize>,
    /// Largest public key bundle of a user, in bytes [default: 4096].
    #[arg(long, value_name = "BYTES")]
    max_keys_bytes: Option<usize>,
    /// All that is stored, in bytes [default: 1073741824].
    #[arg(long, value_name = "BYTES")]
    max_stored_bytes: Option<usize>,
    /// Answers waiting for one slow reader, in bytes [default: 8388608].
    #[arg(long, value_name = "BYTES")]
    max_queue_bytes: Option<usize>,
    /// Connections at a time [default: 10000].
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// Seconds of silence before a socket is pinged, and again before it is closed [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    ping_seconds: Option<u32>,
    /// Seconds for a request to arrive, and again for its answer to be read [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    request_seconds: Option<u32>,
}

impl LimitFlags {
    fn limits(&self) -> Limits {
        let defaults = Limits::default();
        let seconds = |flag: Option<u32>, default| {
            flag.map_or(default, |seconds| Duration::from_secs(seconds.into()))
        };
        Limits {
            max_frame_bytes: self.max_frame_bytes.unwrap_or(defaults.max_frame_bytes),
            max_mailbox_messages: self
                .max_mailbox_messages
                .unwrap_or(defaults.max_mailbox_messages),
            max_mailbox_bytes: self.max_mailbox_bytes.unwrap_or(defaults.max_mailbox_bytes),
            max_user_id_bytes: self.max_user_id_bytes.unwrap_or(defaults.max_user_id_bytes),
            max_users: self.max_users.unwrap_or(defaults.max_users),
            max_keys_bytes: self.max_keys_bytes.unwrap_or(defaults.max_keys_bytes),
            max_stored_bytes: self.max_stored_bytes.unwrap_or(defaults.max_stored_bytes),
            max_queue_bytes: self.max_queue_bytes.unwrap_or(defaults.max_queue_bytes),
            max_connections: self.max_connections.unwrap_or(defaults.max_connections),
            ping_interval: seconds(self.ping_seconds, defaults.ping_interval),
            header_timeout: seconds(self.request_seconds, defaults.header_timeout),
            body_timeout: seconds(self.request_seconds, defaults.body_timeout),
            answer_timeout: seconds(self.request_seconds, defaults.answer_timeout),
            ..defaults
        }
    }
}

/// Form of the announcement that the relay listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one line.
    Json,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run the mock relay.
    MockRelay(MockRelay),
}

/// Options of the mock relay.
#[derive(Debug)]
pub(crate) struct MockRelay {
    pub(crate) hosts: Vec<IpAddr>,
    pub(crate) port: u16,
    pub(crate) verbose: bool,
    pub(crate) output: Output,
    pub(crate) exit_on_stdin_close: bool,
    pub(crate) config: Config,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Help or version was asked for: this is it.
    Print(clap::Error),
    /// Something is wrong with what was asked, in one line.
    Usage(String),
}

impl Refusal {
    /// Says it; the exit code is 0 for help and 2 for a mistake.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Print(text) => {
                let _ = text.print();
                ExitCode::SUCCESS
            }
            Self::Usage(line) => {
                eprintln!("stvor: {line}");
                ExitCode::from(2)
            }
        }
    }
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Print(error),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Self::Usage("which command? 'stvor --help' lists them".to_owned())
            }
            _ => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                let first = first.strip_prefix("error: ").unwrap_or(first);
                Self::Usage(format!("{first}; 'stvor mock-relay --help' lists the options"))
            }
        }
    }
}

/// Reads the arguments, the program's name first, and the environment.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Command, Refusal> {
    let Flags::MockRelay(flags) = Cli::try_parse_from(arguments)?.command;
    // An empty variable is as good as none.
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    let port = match flags.port {
        Some(port) => port,
        None => match env_port("STVOR_MOCK_PORT", &env)? {
            Some(port) => port,
            None => env_port("PORT", &env)?.unwrap_or(DEFAULT_PORT),
        },
    };
    let default_hosts = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut config = Config { limits: flags.limits.limits(), ..Config::default() };
    if !flags.token_prefix.is_empty() {
        config.token_prefixes = flags.token_prefix;
    }
    Ok(Command::MockRelay(MockRelay {
        hosts: if flags.host.is_empty() { default_hosts.to_vec() } else { flags.host },
        port,
        verbose: flags.verbose || env_flag("STVOR_MOCK_VERBOSE", &env)?,
        output: flags.output,
        exit_on_stdin_close: flags.exit_on_stdin_close,
        config,
    }))
}

fn env_port(name: &str, env: &impl Fn(&str) -> Option<OsString>) -> Result<Option<u16>, Refusal> {
    let Some(value) = env(name) else { return Ok(None) };
    match value.to_str().and_then(|value| value.trim().parse().ok()) {
        Some(port) => Ok(Some(port)),
        None => Err(Refusal::Usage(format!(
            "{name}={} is not a port: give a number from 0 to 65535",
            value.display()
        ))),
    }
}

fn env_flag(name: &str, env: &impl Fn(&str) -> Option<OsString>) -> Result<bool, Refusal> {
    let Some(value) = env(name) else { return Ok(false) };
    match value.to_str().map(str::to_ascii_lowercase).as_deref() {
        Some("1" | "true" | "yes" | "on") => Ok(true),
        Some("0" | "false" | "no" | "off") => Ok(false),
        _ => Err(Refusal::Usage(format!("{name}={} is neither 1 nor 0", value.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn parse_with(flags: &[&str], env: &[(&str, &str)]) -> Result<MockRelay, String> {
        let arguments = ["stvor", "mock-relay"].iter().chain(flags).map(OsString::from);
        let lookup = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsStr::new(value).to_owned())
        };
        match parse(arguments, lookup) {
            Ok(Command::MockRelay(options)) => Ok(options),
            Err(Refusal::Usage(line)) => Err(line),
            Err(Refusal::Print(text)) => Err(text.to_string()),
        }
    }

    #[test]
    fn the_port_comes_from_the_flag_then_the_environment_then_the_default() {
        let port = |flags: &[&str], env: &[(&str, &str)]| parse_with(flags, env).unwrap().port;
        let both = [("STVOR_MOCK_PORT", "5000"), ("PORT", "6000")];
        assert_eq!(port(&["--port", "7000"], &both), 7000);
        assert_eq!(port(&[], &both), 5000);
        assert_eq!(port(&[], &[("STVOR_MOCK_PORT", ""), ("PORT", "6000")]), 6000);
        assert_eq!(port(&[], &[]), 4444);
    }

    #[test]
    fn verbosity_comes_from_the_flag_or_the_environment() {
        let verbose = |flags: &[&str], value| {
            parse_with(flags, &[("STVOR_MOCK_VERBOSE", value)]).unwrap().verbose
        };
        assert!(verbose(&[], "1") && verbose(&["--verbose"], "0") && verbose(&[], "TRUE"));
        assert!(!verbose(&[], "0") && !verbose(&[], ""));
    }

    #[test]
    fn hosts_and_prefixes_replace_the_defaults() {
        let options = parse_with(&[], &[]).unwrap();
        assert_eq!(options.hosts, [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()]);
        assert_eq!(options.config.token_prefixes, ["stvor_"]);
        let flags = ["--host", "0.0.0.0", "--token-prefix", "", "--token-prefix", "sk_"];
        let options = parse_with(&flags, &[]).unwrap();
        assert_eq!(options.hosts, [IpAddr::from([0, 0, 0, 0])]);
        assert_eq!(options.config.token_prefixes, ["", "sk_"]);
    }

    #[test]
    fn the_defaults_that_the_help_states_are_the_relays() {
        let limits = Limits::default();
        let stated = [
            (limits.max_frame_bytes, 1_048_576),
            (limits.max_mailbox_messages, 10_000),
            (limits.max_mailbox_bytes, 67_108_864),
            (limits.max_user_id_bytes, 256),
            (limits.max_users, 10_000),
            (limits.max_keys_bytes, 4_096),
            (limits.max_stored_bytes, 1_073_741_824),
            (limits.max_queue_bytes, 8_388_608),
            (limits.max_connections, 10_000),
        ];
        let help = parse_with(&["--help"], &[]).unwrap_err();
        for (value, in_help) in stated {
            assert_eq!(value, in_help);
            assert!(help.contains(&format!("[default: {in_help}]")), "{in_help} in {help}");
        }
        assert_eq!(limits.ping_interval, Duration::from_secs(30));
        assert_eq!(limits.body_timeout, Duration::from_secs(30));
        assert_eq!(limits.answer_timeout, Duration::from_secs(30));
    }

    #[test]
    fn a_mistake_is_told_in_one_line_that_names_it() {
        for (flags, env, expected) in [
            (vec!["--prot", "1"], vec![], "'--prot'"),
            (vec!["--port", "70000"], vec![], "'70000'"),
            (vec!["--host", "localhost"], vec![], "'localhost'"),
            (vec![], vec![("STVOR_MOCK_PORT", "abc")], "STVOR_MOCK_PORT=abc"),
            (vec![], vec![("PORT", "-1")], "PORT=-1"),
            (vec![], vec![("STVOR_MOCK_VERBOSE", "maybe")], "STVOR_MOCK_VERBOSE=maybe"),
        ] {
            let line = parse_with(&flags, &env).unwrap_err();
            assert!(line.contains(expected) && line.lines().count() == 1, "{line}");
        }
    }
}
