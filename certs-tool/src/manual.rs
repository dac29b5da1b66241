//! The manual pages of both commands.
//! Their command lines as clap knows them, and what these do not say -> man/*.8.
//! Invariant: the pages that are shipped are those that are written here.
//! Leaves out: installing them.

use ::manual::{Page, bold, italic};
use clap::CommandFactory;

use crate::limits::{CA_DAYS, LEAF_DAYS_DEFAULT};
use crate::{client, server};

const EXIT_CODES: [(u8, &str); 3] = [
    (0, "Everything was done."),
    (1, "Something could not be done; what, and what to do, is said on standard error."),
    (64, "The command was called wrongly; nothing was tried."),
];

const FILES: [(&str, &str); 6] = [
    ("loghog-ca.key", "The authority's key. It stays where it is, and nobody else may read it."),
    ("loghog-ca.cert", "The authority's certificate: the daemon and every client need it."),
    ("loghog-ca.crl", "The list of what it has revoked; `[server] crl` of loghogd.conf(5)."),
    ("loghog-ca.index", "The certificates that it has issued, and which are revoked."),
    ("loghog-server.pem", "The server's key and certificate; `[server] pemfile`."),
    ("NAME.pem", "A client's key and certificate."),
];

fn rest(page: &mut Page, examples: &str, see_also: &[(&str, u8)]) {
    page.section("EXIT STATUS");
    for (code, meaning) in EXIT_CODES {
        page.tagged([bold(code.to_string())], meaning);
    }
    page.section("FILES");
    page.paragraphs(["`loghog` stands for what the names begin with."]);
    for (file, meaning) in FILES {
        page.tagged([italic(file)], meaning);
    }
    page.section("EXAMPLES");
    let typed = examples.trim_start_matches("Examples:\n");
    let typed = typed.split_once("\n\n").map_or(typed, |(typed, _)| typed);
    let lines = typed.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
    page.verbatim(&lines.collect::<Vec<_>>().join("\n"));
    page.see_also(see_also);
}

fn server_page() -> Page {
    let mut command = server::Args::command();
    command.build();
    let about = "make a LogHog authority and the certificate of its server";
    let mut page = Page::new("loghog-server-cert", 8, about);
    page.section("SYNOPSIS");
    page.synopsis("loghog-server-cert", "[OPTION]... [DOMAIN]");
    page.section("DESCRIPTION");
    let life = format!(
        "The authority lives for {} years, the server's certificate for {LEAF_DAYS_DEFAULT} days unless \
         told otherwise. `--renew` makes a new one before the old one has ended, or when the server \
         gets another name; clients notice nothing. The daemon takes it over with a reload.",
        CA_DAYS / 365
    );
    page.paragraphs([
        "loghog-server-cert makes, in the current folder, an authority (a CA) of your own and a \
         certificate for loghogd(8), so that clients and the server can prove to each other who they \
         are. It says what to write into loghogd.conf(5). It never replaces an authority unless told \
         to with `--force`.",
        &life,
        "Run it where the authority's key is to stay. That need not be the machine on which the daemon \
         runs: this one needs loghog-server.pem, loghog-ca.cert and loghog-ca.crl.",
        "The scripts of the original LogHog made X.509 v1 certificates, which today's TLS libraries \
         refuse. `--reissue` makes new ones under the same authority: the server's, and one for \
         each client whose NAME.pem lies in the folder. Every client keeps its name, and its key \
         where that has 2048 bits or more; what was there stays beside it, as NAME.pem.old. What is in \
         order, of another authority, revoked or has ended is left as it is, and every step is said. \
         Ended in the middle, it can be run again.",
    ]);
    page.section("OPTIONS");
    page.options(command.get_arguments());
    rest(
        &mut page,
        server::EXAMPLES,
        &[("loghogd.conf", 5), ("loghog-client-cert", 8), ("loghogd", 8)],
    );
    page
}

fn client_page() -> Page {
    let mut command = client::Args::command();
    command.build();
    let mut page =
        Page::new("loghog-client-cert", 8, "make, list and revoke certificates of LogHog clients");
    page.section("SYNOPSIS");
    for line in client::USAGE.lines() {
        let line = line.trim().replace("[OPTIONS]", "[OPTION]...");
        let (name, rest) = line.split_once(' ').expect("a name and more");
        page.synopsis(name, rest);
    }
    page.section("DESCRIPTION");
    page.paragraphs([
        "loghog-client-cert makes `NAME.pem` in the current folder: a key and a certificate, issued by \
         the authority that loghog-server-cert(8) has made. Give it, and loghog-ca.cert, to the client; \
         nobody else may read it.",
        "The authority is looked for in CA-PATH, or else in the current folder, in /etc/loghogd/certs \
         and in /etc/loghogd.",
        "`--revoke` puts certificates on the authority's list. That counts once loghogd(8) has read the \
         list again, by a reload; connections that are open go on until they end.",
    ]);
    page.section("OPTIONS");
    page.options(command.get_arguments());
    rest(
        &mut page,
        client::EXAMPLES,
        &[("loghog", 1), ("loghogd.conf", 5), ("loghog-server-cert", 8), ("loghogd", 8)],
    );
    page
}

#[test]
fn the_pages_that_are_shipped_say_what_the_commands_do() {
    server_page().must_be("loghog-server-cert.8");
    client_page().must_be("loghog-client-cert.8");
}
