//! Every input that was kept holds, without libFuzzer: what once broke stays mended.

use std::fs;
use std::path::Path;

use heteronym_fuzz::TARGETS;

#[test]
fn every_kept_input_holds() {
    for (target, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let inputs = files.map(|file| file.and_then(|file| fs::read(file.path())).expect("a file that can be read"));
        let count = inputs.map(|input| run(&input)).count();
        assert!(count > 10, "{target} has {count} inputs");
    }
}
