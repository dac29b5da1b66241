//! Whose file is it? The answer decides what may ever be deleted, so it is
//! asked of every file that a facility can have, and of names that only look
//! like one.

use loghogd::config::facility::Table;
use loghogd::config::read_facilities;
use loghogd::pipeline::persist::path::live_file;
use proptest::prelude::*;
use std::path::Path;

const SECTION: &str = "rotate = daily\nbackup_count = 1\n";

fn table(text: &str) -> Option<Table> {
    read_facilities(text.as_bytes(), Path::new("facilities.conf")).ok()
}

fn owner<'a>(table: &'a Table, app: &str, stem: &str) -> Option<&'a str> {
    table.owner(app, stem).map(|facility| &*facility.module)
}

#[test]
fn a_name_that_only_begins_alike_belongs_to_nobody() {
    let table = table(&format!("[a]\n{SECTION}[a:web]\n{SECTION}[a:web.api]\n{SECTION}")).unwrap();
    for module in ["root", "web", "web.api"] {
        assert_eq!(owner(&table, "a", module), Some(module));
    }
    for stem in [
        "", "root.web", "root-old", "root.", ".root", "Root", "web.", "web..api", " web", "web.db",
        "h-web", "web-", "-web", "loghogd",
    ] {
        assert_eq!(owner(&table, "a", stem), None, "{stem:?}");
    }
    assert_eq!(owner(&table, "b", "root"), None);
}

#[test]
fn a_file_per_host_has_a_host_and_the_old_file_for_all_keeps_its_owner() {
    let hosts = "file_per_host = yes\n";
    let table =
        table(&format!("[a]\n{SECTION}{hosts}[a:my-web]\n{SECTION}[b]\n{SECTION}")).unwrap();
    for (stem, module) in [
        ("h-root", Some("root")),
        ("root", Some("root")),
        ("a-b.c-my-web", Some("my-web")),
        ("my-web", Some("my-web")),
        ("%2Eh-my-web", Some("my-web")),
        ("-my-web", None),
        (".h-my-web", None),
        ("h h-my-web", None),
        ("h-web", None),
    ] {
        assert_eq!(owner(&table, "a", stem), module, "{stem:?}");
    }
    assert_eq!(owner(&table, "b", "h-root"), None);
}

/// Names made of few letters and many dashes, so that they meet.
fn modules() -> impl Strategy<Value = Vec<(String, bool)>> {
    let name = prop_oneof!["[ab-]{1,4}", "[ab-]{1,2}\\.[ab-]{1,2}"];
    prop::collection::vec((name, any::<bool>()), 1..4)
}

fn table_of(modules: &[(String, bool)]) -> Option<Table> {
    let mut text = format!("[a]\n{SECTION}");
    for (name, per_host) in modules {
        let yes = if *per_host { "yes" } else { "no" };
        text.push_str(&format!("[a:{name}]\n{SECTION}file_per_host = {yes}\n"));
    }
    table(&text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_file_belongs_to_the_facility_that_writes_it(
        modules in modules(), hosts in prop::collection::vec("[ab.%é-]{1,4}|.{1,9}", 1..4),
    ) {
        let Some(table) = table_of(&modules) else { return Ok(()) };
        for facility in table.iter() {
            for host in &hosts {
                let mut file = String::new();
                if live_file(facility, host, &mut file).is_err() {
                    continue;
                }
                let stem = file.strip_prefix("a/").unwrap().strip_suffix(".log").unwrap();
                prop_assert_eq!(owner(&table, "a", stem), Some(&*facility.module), "{}", stem);
            }
        }
    }

    // By definition, word for word: whoever the reader lets in, no stem is
    // the file of two.
    #[test]
    fn no_stem_has_two_owners(modules in modules(), stem in "[ab.-]{1,8}|[ab-]{1,4}-root") {
        let Some(table) = table_of(&modules) else { return Ok(()) };
        let owners: Vec<&str> = table
            .iter()
            .filter(|facility| {
                let host = stem.strip_suffix(&*facility.module).and_then(|rest| rest.strip_suffix('-'));
                let is_host = host.is_some_and(|host| !host.is_empty() && !host.starts_with('.'));
                *stem == *facility.module || facility.file_per_host && is_host
            })
            .map(|facility| &*facility.module)
            .collect();
        prop_assert!(owners.len() <= 1, "{:?}", owners);
        prop_assert_eq!(owner(&table, "a", &stem), owners.first().copied());
    }
}
