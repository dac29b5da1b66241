//! Checks the sections of `facilities.conf`.
//! The file as written -> a table of facilities, or every problem.
//! Invariant: a table has a safe file name and an exact schedule for each facility.
//! Leaves out: reading the file, and whether its secrets are well kept.
//!
//! `[app]` (or `[app:]`) is the application's root facility, `[app:module]`
//! one of its modules. `[app:root]` beside `[app]` takes its place. Modules
//! take every other option than `rotate` and `backup_count` from `[app]` when
//! neither they nor `[DEFAULT]` give it.

use super::collide::collisions;
use super::options::{
    bytes, format, max_age, positive, require, rotation, secret, targets, yes_or_no,
};
use super::{Facility, LineFormat, Origin, Origins, ROOT, Require, Rotate, Secret, Table};
use crate::config::name;
use crate::config::problem::{Kind, Problems, shown};
use crate::config::raw::{Found, Raw, Section};
use crate::config::reference::FACILITY;
use crate::config::value::Refused;
use crate::pipeline::persist::path::LIVE_SUFFIX;
use crate::pipeline::rotate::schedule::Schedule;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use wire::signature::Key;

/// A value and where it came from.
type Sourced<T> = (T, Origin);

/// What a root facility hands down to its modules.
#[derive(Clone)]
struct Inheritance {
    secret: Sourced<Option<Secret>>,
    require: Sourced<Require>,
    format: Sourced<LineFormat>,
    max_size: Sourced<Option<u64>>,
    max_age: Sourced<Option<Duration>>,
    max_total_size: Sourced<Option<u64>>,
    flush_every: Sourced<u32>,
    file_per_host: Sourced<bool>,
    ship: Sourced<Arc<[Box<str>]>>,
    keep_until_shipped: Sourced<bool>,
}

impl Default for Inheritance {
    fn default() -> Inheritance {
        Inheritance {
            secret: (None, Origin::BuiltIn),
            require: (Require::default(), Origin::BuiltIn),
            format: (LineFormat::Text, Origin::BuiltIn),
            max_size: (None, Origin::BuiltIn),
            max_age: (None, Origin::BuiltIn),
            max_total_size: (None, Origin::BuiltIn),
            flush_every: (1, Origin::BuiltIn),
            file_per_host: (false, Origin::BuiltIn),
            ship: (Arc::default(), Origin::BuiltIn),
            keep_until_shipped: (true, Origin::BuiltIn),
        }
    }
}

/// Checks the facilities of a file. What it gives is of use only if there is
/// nothing among `problems`.
pub fn read(raw: &Raw, problems: &mut Problems) -> Table {
    let mut warnings = Problems::of(problems.file());
    let mut reader = Reader {
        raw,
        problems,
        warnings: &mut warnings,
        seen: HashMap::new(),
        schedules: HashMap::new(),
    };
    let mut table = reader.table();
    reader.refuse_collisions(&table);
    table.file = problems.file().to_owned();
    table.warnings = warnings.into_vec();
    table
}

struct Reader<'a> {
    raw: &'a Raw,
    problems: &'a mut Problems,
    warnings: &'a mut Problems,
    /// The header line of each facility, by application and module.
    seen: HashMap<(&'a str, String), u32>,
    /// The schedules so far. Many facilities share few, and one takes some
    /// kilobytes and a while to prepare.
    schedules: HashMap<String, Schedule>,
}

impl<'a> Reader<'a> {
    fn table(&mut self) -> Table {
        let mut table = Table::default();
        if let Some(defaults) = self.raw.defaults() {
            self.refuse_unknown(defaults);
        }
        let mut roots = HashMap::new();
        for section in self.raw.sections() {
            if let (app, "") = split(section) {
                let (facility, inheritance) = self.facility(section, ROOT, None);
                roots.insert(app, inheritance);
                facility.into_iter().for_each(|facility| table.put(facility));
            }
        }
        for section in self.raw.sections() {
            let (app, module) = split(section);
            if module.is_empty() {
                continue;
            }
            let root = roots.get(app);
            if root.is_none() && !app.is_empty() {
                let message = format!("the application {} has no root facility", shown(app));
                let remedy = "add a section of this name alone, with rotate and backup_count";
                self.problems.add(section.line, Kind::NoRoot, message, remedy);
            }
            let module = name::components(module).collect::<Vec<_>>().join(".");
            let module = if module.is_empty() { ROOT } else { &module };
            let (facility, _) = self.facility(section, module, root);
            facility.into_iter().for_each(|facility| table.put(facility));
        }
        table.list();
        table
    }

    /// One facility, unless something in its section is wrong; and what it
    /// hands down as far as that is right.
    fn facility(
        &mut self,
        section: &'a Section,
        module: &str,
        root: Option<&Inheritance>,
    ) -> (Option<Facility>, Inheritance) {
        self.refuse_unknown(section);
        let (app, _) = split(section);
        let named = self.named(section, app, module);
        let mut schedules = std::mem::take(&mut self.schedules);
        let rotate = self.required(section, "rotate", |found| rotation(found, &mut schedules));
        self.schedules = schedules;
        let backup_count = self.required(section, "backup_count", positive);
        let root = root.cloned().unwrap_or_default();
        let inheritance = Inheritance {
            secret: self.optional(section, "secret", root.secret, secret),
            require: self.optional(section, "require", root.require, require),
            format: self.optional(section, "format", root.format, format),
            max_size: self.optional(section, "max_size", root.max_size, bytes),
            max_age: self.optional(section, "max_age", root.max_age, max_age),
            max_total_size: self.optional(section, "max_total_size", root.max_total_size, bytes),
            flush_every: self.optional(section, "flush_every", root.flush_every, positive),
            file_per_host: self.optional(section, "file_per_host", root.file_per_host, yes_or_no),
            ship: self.optional(section, "ship", root.ship, targets),
            keep_until_shipped: self.optional(
                section,
                "keep_until_shipped",
                root.keep_until_shipped,
                yes_or_no,
            ),
        };
        let sound = self.fits(section, module, &inheritance, rotate.as_ref());
        let facility = match (rotate, backup_count) {
            (Some(rotate), Some(backup_count)) if named && sound => {
                Some(build(section.line, app, module, rotate, backup_count, &inheritance))
            }
            _ => None,
        };
        (facility, inheritance)
    }

    /// Is the name safe, and is it the only one of its kind?
    fn named(&mut self, section: &'a Section, app: &'a str, module: &str) -> bool {
        let line = section.line;
        if app.is_empty() {
            let message = "this section names no application";
            self.problems.add(line, Kind::BadValue, message, "write [app] or [app:module]");
            return false;
        }
        let (_, written) = split(section);
        if written != ROOT && !written.is_empty() && (module == ROOT || module.starts_with("root."))
        {
            let message =
                format!("{} names the root facility in a roundabout way", shown(&section.name));
            let remedy = "write [app] for the root facility and [app:module] for a module";
            self.problems.add(line, Kind::BadValue, message, remedy);
            return false;
        }
        let mut sound = true;
        for (what, name, bytes_max) in
            [("application", app, name::APP_BYTES_MAX), ("module", module, name::MODULE_BYTES_MAX)]
        {
            if let Err(refused) = name::safe(what, name, bytes_max) {
                self.problems.add(line, Kind::UnsafeName, refused.message, refused.remedy);
                sound = false;
            }
        }
        let Some(first) = self.seen.insert((app, module.to_owned()), line) else { return sound };
        if written == ROOT {
            let message = format!("this section replaces the one in line {first}");
            let remedy = "join the two sections";
            self.warnings.add(line, Kind::Shadowed, message, remedy);
            return sound;
        }
        let facility = shown(&format!("{app}:{module}"));
        let message = format!("the facility {facility} is in line {first} already");
        self.problems.add(line, Kind::Duplicate, message, "keep one of the two sections");
        false
    }

    /// Checks what concerns more than one option.
    fn fits(
        &mut self,
        section: &Section,
        module: &str,
        inheritance: &Inheritance,
        rotate: Option<&Sourced<Rotate>>,
    ) -> bool {
        let (max_size, _) = inheritance.max_size;
        let mut sound = true;
        if let Some((Rotate::Size, origin)) = rotate
            && max_size.unwrap_or(0) == 0
        {
            let line = origin.line().unwrap_or(section.line);
            let message = "rotate = size needs a max_size";
            self.problems.add(line, Kind::BadValue, message, "add for example: max_size = 10 MiB");
            sound = false;
        }
        let (per_host, origin) = inheritance.file_per_host;
        let too_long = name::MODULE_PER_HOST_BYTES_MAX + 1..=name::MODULE_BYTES_MAX;
        if per_host && too_long.contains(&module.len()) {
            let line = origin.line().unwrap_or(section.line);
            let message = format!(
                "the name of the module leaves no room for a host: {} bytes, {} are possible",
                module.len(),
                name::MODULE_PER_HOST_BYTES_MAX,
            );
            let remedy = "choose a shorter name, or switch file_per_host off";
            self.problems.add(line, Kind::UnsafeName, message, remedy);
            sound = false;
        }
        sound
    }

    fn refuse_unknown(&mut self, section: &Section) {
        for (option, entry) in &section.options {
            if !FACILITY.has(option) {
                let message = format!("a facility has no option {}", shown(option));
                let names: Vec<&str> = FACILITY.names().collect();
                let remedy = format!("the options are {}", names.join(", "));
                self.problems.add(entry.line, Kind::Unknown, message, remedy);
            }
        }
    }

    fn refuse_collisions(&mut self, table: &Table) {
        for collision in collisions(table) {
            let (per_host, other) = (collision.per_host, collision.other);
            let message = format!(
                "messages of the host {} for {} would go into a file of {}",
                shown(collision.host),
                shown(&per_host.module),
                shown(&other.module),
            );
            let remedy = format!(
                "rename this module, or switch file_per_host off in line {}",
                per_host.origins.file_per_host.line().unwrap_or(per_host.origins.section_line),
            );
            self.problems.add(other.origins.section_line, Kind::Collision, message, remedy);
        }
    }

    fn required<T>(
        &mut self,
        section: &Section,
        option: &str,
        read: impl FnOnce(Found<'_>) -> Result<T, Refused>,
    ) -> Option<Sourced<T>> {
        let Some(found) = self.raw.find(Some(section), option) else {
            let message = format!("{} has no {option}", shown(&section.name));
            let remedy = match option {
                "rotate" => "add for example: rotate = daily",
                _ => "add for example: backup_count = 14",
            };
            self.problems.add(section.line, Kind::MissingOption, message, remedy);
            return None;
        };
        self.noted(option, found, read)
    }

    fn optional<T>(
        &mut self,
        section: &Section,
        option: &str,
        (inherited, origin): Sourced<T>,
        read: impl FnOnce(Found<'_>) -> Result<T, Refused>,
    ) -> Sourced<T> {
        let inherited = (inherited, origin.inherited());
        let Some(found) = self.raw.find(Some(section), option) else { return inherited };
        self.noted(option, found, read).unwrap_or(inherited)
    }

    /// Reads a value; notes why it was refused.
    fn noted<T>(
        &mut self,
        option: &str,
        found: Found<'_>,
        read: impl FnOnce(Found<'_>) -> Result<T, Refused>,
    ) -> Option<Sourced<T>> {
        let line = found.entry.line;
        match read(found) {
            Ok(value) if found.in_defaults => Some((value, Origin::Defaults { line })),
            Ok(value) => Some((value, Origin::Section { line })),
            Err(refused) => {
                let message = format!("{option}: {}", refused.message);
                let mut remedy = refused.remedy;
                if found.entry.line_last > line {
                    let last = found.entry.line_last;
                    remedy.push_str(&format!(
                        "; lines {line} to {last} are one value because of the indentation"
                    ));
                }
                self.problems.add(line, refused.kind, message, remedy);
                None
            }
        }
    }
}

/// Application and module as written; the module is empty for `[app]`.
fn split(section: &Section) -> (&str, &str) {
    let (app, module) = section.name.split_once(':').unwrap_or((&section.name, ""));
    (app.trim_end(), module.trim_start())
}

fn build(
    section_line: u32,
    app: &str,
    module: &str,
    rotate: Sourced<Rotate>,
    backup_count: Sourced<u32>,
    inheritance: &Inheritance,
) -> Facility {
    let secret = inheritance.secret.0.clone();
    Facility {
        app: app.into(),
        module: module.into(),
        rotate: rotate.0,
        backup_count: backup_count.0,
        max_size_bytes: inheritance.max_size.0,
        max_age: inheritance.max_age.0,
        max_total_size_bytes: inheritance.max_total_size.0,
        flush_every: inheritance.flush_every.0,
        file_per_host: inheritance.file_per_host.0,
        key: secret.as_ref().map(|secret| Key::new(secret.bytes())),
        secret,
        require: inheritance.require.0,
        format: inheritance.format.0,
        ship: Arc::clone(&inheritance.ship.0),
        keep_until_shipped: inheritance.keep_until_shipped.0,
        origins: Origins {
            section_line,
            rotate: rotate.1,
            backup_count: backup_count.1,
            max_size: inheritance.max_size.1,
            max_age: inheritance.max_age.1,
            max_total_size: inheritance.max_total_size.1,
            flush_every: inheritance.flush_every.1,
            file_per_host: inheritance.file_per_host.1,
            secret: inheritance.secret.1,
            require: inheritance.require.1,
            format: inheritance.format.1,
            ship: inheritance.ship.1,
            keep_until_shipped: inheritance.keep_until_shipped.1,
        },
        live_path: format!("{app}/{module}{LIVE_SUFFIX}").into(),
    }
}
