//! libFuzzer's entry for [`heteronym_fuzz::checker`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heteronym_fuzz::checker::run(data));
