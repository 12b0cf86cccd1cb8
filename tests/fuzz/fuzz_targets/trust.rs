#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gaung_fuzz::trust::run(input));
