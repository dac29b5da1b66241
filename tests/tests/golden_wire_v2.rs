//! The golden frames of protocol v2 are those that a second implementation, in
//! Python and of its standard library alone, makes of what they say.

use std::process::Command;

use loghog_tests::golden;

#[test]
fn a_second_implementation_writes_the_same_frames() {
    let repository = golden::repository();
    let output = Command::new("python3")
        .arg(repository.join("tests/programs/wire_v2.py"))
        .arg(repository.join("tests/golden/wire_v2.json"))
        .output()
        .expect("python3 can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let frames = golden::cases("wire_v2.json");
    let frames = frames.iter().filter(|case| case["kind"] == "frame" || case["kind"] == "session");
    assert_eq!(said, format!("{} cases are as they were\n", frames.count()));
}
