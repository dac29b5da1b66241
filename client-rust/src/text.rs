//! A buffer of each thread, for the text of the message that it is logging.
//! Nothing -> an empty `String` with room, and back.
//! Invariant: who logs while a message is being formatted gets one of his own.
//! Leaves out: what is written into it (`logger`, `layer`).

use std::cell::Cell;

use crate::limits::BUFFER_BYTES_KEPT;

thread_local! {
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// Takes the thread's buffer, or a new one when it is in use.
pub(crate) fn take() -> String {
    // No thread-local any more: the thread is ending.
    TEXT.try_with(Cell::take).unwrap_or_default()
}

/// Gives it back, unless it has grown past all use.
pub(crate) fn give_back(mut text: String) {
    if text.capacity() <= BUFFER_BYTES_KEPT {
        text.clear();
        let _ = TEXT.try_with(|cell| cell.set(text));
    }
}

/// Writes a target as the server knows modules: `::` as `.`. Returns where it
/// ends in the text; 0 when the target is a module as it stands.
pub(crate) fn put_module(target: &str, text: &mut String) -> usize {
    if !target.contains("::") {
        return 0;
    }
    for (place, part) in target.split("::").enumerate() {
        if place > 0 {
            text.push('.');
        }
        text.push_str(part);
    }
    text.len()
}

/// Takes apart what [`put_module`] has begun: the module and the body.
pub(crate) fn split<'a>(target: &'a str, text: &'a str, module_end: usize) -> (&'a str, &'a str) {
    match text.split_at_checked(module_end) {
        Some((module, body)) if module_end > 0 => (module, body),
        _ => (target, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_becomes_a_dotted_module_before_the_body() {
        for (target, module) in
            [("app::web::auth", "app.web.auth"), ("web", "web"), ("a.b", "a.b"), ("::a:::", ".a.:")]
        {
            let mut text = String::new();
            let end = put_module(target, &mut text);
            text.push_str("body");
            assert_eq!(split(target, &text, end), (module, "body"));
        }
    }

    #[test]
    fn a_buffer_that_a_long_message_has_blown_up_is_not_kept() {
        give_back(String::with_capacity(10));
        assert_eq!(take().capacity(), 10);
        assert_eq!(take().capacity(), 0, "it is in use");
        give_back(String::with_capacity(BUFFER_BYTES_KEPT + 1));
        assert_eq!(take().capacity(), 0);
    }
}
