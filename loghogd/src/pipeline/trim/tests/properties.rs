//! Whatever is in the folders and whatever the rules are: only segments go,
//! the oldest first, no more than the rules ask for and no fewer.

use super::shelf::Shelf;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Rules of `a`, `a:web` (a file for each host) and `b`.
#[derive(Clone, Debug)]
struct Rules {
    backup_count: [u32; 3],
    max_age_days: [u32; 3],
    max_total_size: [u64; 3],
}

impl Rules {
    fn table(&self) -> Table {
        let section = |place: usize| {
            format!(
                "rotate = daily\nbackup_count = {}\nmax_age = {}\nmax_total_size = {}\n",
                self.backup_count[place], self.max_age_days[place], self.max_total_size[place]
            )
        };
        table(&format!(
            "[a]\n{}[a:web]\n{}file_per_host = yes\n[b]\n{}",
            section(0),
            section(1),
            section(2)
        ))
    }
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let age = prop_oneof![Just(0), 1..30_u32];
    let total = prop_oneof![Just(0), 1..8_000_u64];
    (prop::array::uniform3(1..6_u32), prop::array::uniform3(age), prop::array::uniform3(total))
        .prop_map(|(backup_count, max_age_days, max_total_size)| Rules {
            backup_count,
            max_age_days,
            max_total_size,
        })
}

/// A file: its folder, its name, its size, the day of its last change.
type Lying = (String, String, u64, u32);

fn any_file() -> impl Strategy<Value = Lying> {
    let stem = prop_oneof![
        4 => Just("root"), 2 => Just("web"), 4 => Just("h1-web"), 2 => Just("h2-web"),
        1 => Just("root.web"), 1 => Just("root-old"), 1 => Just("-web"),
    ];
    let end = prop_oneof![
        8 => Just(""), 4 => Just(".xz"), 1 => Just(".gz"), 1 => Just(".xz.part"),
        1 => Just(".damaged"), 1 => Just(".xz.damaged"), 1 => Just(".bak"), 1 => Just(".XZ"),
    ];
    let folder = prop_oneof![4 => Just("a"), 2 => Just("b"), 1 => Just("c")];
    (folder, stem, 0..29_u32, end, 0..2_000_u64, 0..4_u32).prop_map(
        |(folder, stem, day, end, bytes, lasted)| {
            let name = match day {
                0 if end == ".gz" => format!("{stem}.log.gz"),
                0 => format!("{stem}.log"),
                _ => format!("{stem}.log.2026-11-{day:02}-00-00-00-000000{end}"),
            };
            (folder.to_owned(), name, bytes, (day + lasted).clamp(1, 29))
        },
    )
}

/// A segment that may be deleted: folder, live file, day of its beginning.
fn owned(table: &Table, folder: &str, name: &str) -> Option<(String, Segment)> {
    let Name::Segment(segment) = Name::read(name) else { return None };
    table.owner(folder, segment.stem())?;
    Some((folder.to_owned(), segment.plain()))
}

/// What is on the shelf, by facility: its segments with their facts, and the
/// bytes of its live files.
fn all_owned(shelf: &Shelf, table: &Table) -> BTreeMap<(String, Segment), u64> {
    let mut owned_bytes = BTreeMap::new();
    for folder in ["a", "b", "c"] {
        for name in shelf.names_in(folder) {
            if let Some(key) = owned(table, folder, &name) {
                let facts = shelf.facts(folder, &name).unwrap().unwrap();
                *owned_bytes.entry(key).or_default() += facts.bytes;
            }
        }
    }
    owned_bytes
}

fn lay_out(files: &[Lying]) -> Shelf {
    let shelf = Shelf::new();
    for (folder, name, bytes, day) in files {
        shelf.put(folder, name, *bytes, noon(*day));
    }
    shelf
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn only_unclaimed_segments_go_and_the_rest_keeps_the_rules(
        rules in any_rules(),
        files in prop::collection::vec(any_file(), 0..40),
        claimed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        free_bytes in 0..20_000_u64, min_free in prop_oneof![Just(0), 1..20_000_u64],
    ) {
        let table = rules.table();
        let shelf = lay_out(&files);
        shelf.set_space(1_000_000, free_bytes);
        let claims = Claims::new();
        let before = all_owned(&shelf, &table);
        let held: Vec<(String, Segment)> = claimed
            .iter()
            .filter(|_| !before.is_empty())
            .map(|index| before.keys().nth(index.index(before.len())).unwrap().clone())
            .collect();
        let _claims: Vec<_> =
            held.iter().map(|(folder, segment)| claims.claim(folder, segment)).collect();
        let is_held = |key: &(String, Segment)| held.contains(key);
        let min_free = (min_free > 0).then_some(MinFree::Bytes(min_free));
        let mut trimmer = trimmer(min_free);
        let trimmed = trimmer.trim(&shelf, &table, &claims, now(), None);

        // Nothing went but unclaimed segments, and each of them wholly.
        let after = all_owned(&shelf, &table);
        for (folder, name, ..) in &files {
            let key = owned(&table, folder, name);
            if key.as_ref().is_none_or(&is_held) {
                prop_assert!(shelf.has(folder, name), "{folder}/{name} is not ours to delete");
            }
        }
        for (key, bytes) in &after {
            prop_assert_eq!(before.get(key), Some(bytes), "half of {:?} is gone", key);
        }
        prop_assert_eq!(trimmed.deleted as usize, before.len() - after.len());
        prop_assert_eq!(trimmed.deleted_bytes, before.values().sum::<u64>() - after.values().sum::<u64>());

        // Of each file the oldest went first.
        for (folder, segment) in before.keys().filter(|key| !after.contains_key(key)) {
            for (other_folder, other) in after.keys().filter(|key| !is_held(key)) {
                let older = other_folder == folder && other.live == segment.live && other.began < segment.began;
                prop_assert!(!older, "{segment} went and {other} stayed");
            }
        }

        // What stayed keeps the rules, as far as it could go.
        for (place, (app, module)) in [("a", ""), ("a", "web"), ("b", "")].into_iter().enumerate() {
            let facility = table.find(app, module).unwrap();
            let is_its = |folder: &str, stem: &str| {
                table.owner(folder, stem).is_some_and(|owner| Arc::ptr_eq(owner, facility))
            };
            let its: Vec<_> =
                after.iter().filter(|((folder, segment), _)| is_its(folder, segment.stem())).collect();
            let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
            for ((_, segment), _) in &its {
                *counts.entry(&segment.live).or_default() += 1;
            }
            for (key, _) in its.iter().filter(|(key, _)| !is_held(key)) {
                let later = its.iter().filter(|((_, other), _)| other.live == key.1.live && other.began > key.1.began);
                prop_assert!((later.count() as u32) < rules.backup_count[place]);
                if rules.max_age_days[place] > 0 {
                    let modified = [None, Some("xz"), Some("gz")].iter().filter_map(|end| {
                        let name = end.map_or(key.1.to_string(), |end| format!("{}.{end}", key.1));
                        Some(shelf.facts(app, &name).unwrap()?.modified)
                    });
                    let days = (now() - modified.max().unwrap()).get_seconds() / 86_400;
                    // A later segment may show that it ended earlier.
                    prop_assert!(days < i64::from(rules.max_age_days[place]));
                }
            }
            let live_bytes: u64 = shelf.names_in(app).iter().filter_map(|name| match Name::read(name) {
                Name::Live { stem, .. } if is_its(app, &stem) => {
                    Some(shelf.facts(app, name).unwrap().unwrap().bytes)
                }
                _ => None,
            }).sum();
            // Plain and sealed, it counts once.
            let longest = |segment: &Segment| {
                let forms = [None, Some("xz"), Some("gz")].into_iter().filter_map(|end| {
                    let name = end.map_or(segment.to_string(), |end| format!("{segment}.{end}"));
                    Some(shelf.facts(app, &name).unwrap()?.bytes)
                });
                forms.max().unwrap_or(0)
            };
            let total = live_bytes + its.iter().map(|((_, segment), _)| longest(segment)).sum::<u64>();
            let could_go = its.iter().any(|(key, bytes)| !is_held(key) && **bytes > 0);
            let limit = rules.max_total_size[place];
            // What is claimed goes when it is released; none went in its place.
            let held = its.iter().filter(|(key, _)| is_held(key));
            let held_bytes = held.map(|((_, segment), _)| longest(segment)).sum::<u64>();
            let rest = total - held_bytes;
            prop_assert!(limit == 0 || rest <= limit || !could_go, "{rest} of {limit}");
        }
        let free = shelf.space().unwrap().free_bytes;
        let could_go = after.iter().any(|(key, bytes)| !is_held(key) && *bytes > 0);
        if let Some(MinFree::Bytes(wanted)) = min_free {
            prop_assert!(free >= wanted || !could_go);
            prop_assert_eq!(trimmed.short_of_room, free < wanted);
        }

        // Nothing is left to do; until it is due, and then there is.
        let again = trimmer.trim(&shelf, &table, &claims, now(), None);
        prop_assert_eq!(again.deleted, 0);
        prop_assert!(again.next_due == trimmed.next_due || !held.is_empty());
        if let Some(due) = trimmed.next_due {
            let just_before = due - jiff::SignedDuration::from_nanos(1);
            prop_assert_eq!(trimmer.trim(&shelf, &table, &claims, just_before, None).deleted, 0);
            let deleted = trimmer.trim(&shelf, &table, &claims, due, None).deleted;
            prop_assert!(deleted > 0 || !held.is_empty());
        }
    }

    // No rule, no deletion; and a rule alone deletes no more than it asks for.
    #[test]
    fn no_more_goes_than_the_rules_ask_for(
        files in prop::collection::vec(any_file(), 0..40), max_total_size in 1..8_000_u64,
        shortage_bytes in 1..8_000_u64,
    ) {
        let generous = Rules { backup_count: [1_000; 3], max_age_days: [0; 3], max_total_size: [0; 3] };
        let shelf = lay_out(&files);
        let trimmed = trimmer(None).trim(&shelf, &generous.table(), &Claims::new(), now(), None);
        prop_assert_eq!((trimmed.deleted, trimmed.next_due), (0, None));

        // Each deletion was necessary: without the last one it would not do.
        let rules = Rules { max_total_size: [max_total_size, 0, 0], ..generous.clone() };
        let (claims, receipts) = (Claims::new(), Receipts::none());
        let list = |table: &Table| -> Vec<Holding> {
            ["a", "b"].into_iter().flat_map(|folder| {
                let needs = list::Needs { claims: &claims, receipts: &receipts };
                list::list(&shelf, table, folder, needs, &TimeZone::UTC, &mut None).unwrap()
            }).collect()
        };
        let holdings = list(&rules.table());
        let choice = choose(&holdings, now(), 0);
        if let Some(last) = choice.deletions.last() {
            let root = holdings.iter().find(|held| &*held.facility.module == "root" && &*held.facility.app == "a");
            let all: u64 = root.unwrap().files.iter().map(|file| {
                file.live_bytes + file.segments.iter().map(|closed| closed.bytes).sum::<u64>()
            }).sum();
            let gone: u64 = choice.deletions.iter().map(|deletion| deletion.closed.bytes).sum();
            prop_assert!(all - gone + last.closed.bytes > max_total_size);
            prop_assert_eq!(last.reason, Reason::MaxTotalSize);
        }
        let holdings = list(&generous.table());
        let choice = choose(&holdings, now(), shortage_bytes);
        let gains: Vec<u64> = choice.deletions.iter().map(|deletion| deletion.closed.disk_bytes).collect();
        if let Some((last, others)) = gains.split_last() {
            prop_assert!(others.iter().sum::<u64>() < shortage_bytes, "{last} was too much");
        }
        // The oldest of all facilities go first.
        let ends: Vec<Timestamp> = choice.deletions.iter().map(|deletion| deletion.closed.ended).collect();
        let gone = choice.deletions.len();
        let all = choose(&holdings, now(), u64::MAX);
        prop_assert_eq!(&ends[..], &all.deletions.iter().map(|d| d.closed.ended).collect::<Vec<_>>()[..gone]);
    }
}
