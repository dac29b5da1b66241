//! What loads, and is warned of.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rcgen::date_time_ymd;

use super::{Ca, NOW, Site};

const DAY: i64 = 86_400;

/// Certificates that end in 2030, readable by their owner only.
fn quiet_site() -> (Ca, Site) {
    let ca = Ca::with("a", |params| params.not_after = date_time_ymd(2030, 1, 1));
    let server = ca.server(|params| params.not_after = date_time_ymd(2028, 1, 1));
    let site = Site::with(&server.pem(), &ca.pem, Some(&ca.list(&[])));
    fs::set_permissions(site.path("server.pem"), Permissions::from_mode(0o600)).unwrap();
    (ca, site)
}

#[track_caller]
fn assert_warns(site: &Site, now: i64, words: &[&str]) {
    let warnings = site.warnings(now);
    let found = warnings.iter().any(|warning| words.iter().all(|word| warning.contains(word)));
    assert!(found, "{words:?} are not in {warnings:?}");
}

#[test]
fn fresh_certificates_are_not_worth_a_word() {
    let (_, site) = quiet_site();
    assert_eq!(site.warnings(NOW), Vec::<String>::new());
}

#[test]
fn an_end_is_announced_a_month_ahead_and_half_a_year_for_the_authority() {
    let (_, site) = quiet_site();
    let end = date_time_ymd(2028, 1, 1).unix_timestamp();
    assert!(site.warnings(end - 30 * DAY).is_empty());
    assert_warns(
        &site,
        end - 30 * DAY + 1,
        &["server.pem", "expires in 29 days, on 2028-01-01", "--renew"],
    );
    assert_warns(&site, end - 1, &["expires within a day"]);
    assert_warns(&site, end + 1, &["expired on 2028-01-01"]);

    let end = date_time_ymd(2030, 1, 1).unix_timestamp();
    assert_warns(&site, end - 179 * DAY, &["ca.cert", "\"a\" expires in 179 days"]);
    assert_warns(&site, end + DAY, &["ca.crl", "due to be renewed by 2030-01-01", "still binds"]);
}

#[test]
fn a_clock_that_is_behind_is_noticed() {
    let ca = Ca::new("a");
    let server = ca.server(|params| params.not_before = date_time_ymd(2027, 1, 1));
    assert_warns(
        &Site::with(&server.pem(), &ca.pem, None),
        NOW,
        &["begins only on 2027-01-01", "clock"],
    );
}

#[test]
fn a_key_that_everybody_may_read_is_noticed() {
    let (_, site) = quiet_site();
    fs::set_permissions(site.path("server.pem"), Permissions::from_mode(0o644)).unwrap();
    assert_warns(&site, NOW, &["server.pem", "chmod 600"]);
    fs::set_permissions(site.path("server.pem"), Permissions::from_mode(0o640)).unwrap();
    assert!(site.warnings(NOW).is_empty(), "its group is the daemon's own affair");
}

#[test]
fn a_certificate_that_clients_would_refuse_is_noticed() {
    let (ca, other) = (Ca::new("a"), Ca::new("b"));
    let nameless = ca.server(|params| params.subject_alt_names.clear());
    assert_warns(&Site::with(&nameless.pem(), &ca.pem, None), NOW, &["subjectAltName", "--renew"]);
    let foreign = Site::with(&other.server(|_| {}).pem(), &ca.pem, None);
    assert_warns(&foreign, NOW, &["not from an authority in"]);
}

#[test]
fn an_authority_without_a_list_is_named_once_there_is_any() {
    let (ca, other) = (Ca::new("a"), Ca::new("b"));
    let pemfile = ca.server(|_| {}).pem();
    let both = ca.pem.clone() + &other.pem;
    let site = Site::with(&pemfile, &both, Some(&ca.list(&[])));
    assert_warns(&site, NOW, &["no revocation list of the authority \"b\""]);
    let site = Site::with(&pemfile, &both, Some(&(ca.list(&[]) + &other.list(&[]))));
    assert!(!site.warnings(NOW).iter().any(|warning| warning.contains("no revocation list")));
}

#[test]
fn files_that_can_no_longer_be_read_are_announced_before_the_next_reload() {
    let (_, site) = quiet_site();
    site.config();
    fs::remove_file(site.path("server.pem")).unwrap();
    assert_warns(&site, NOW, &["cannot be reloaded", "server.pem: no such file"]);
}
