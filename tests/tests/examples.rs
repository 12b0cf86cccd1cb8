//! The example over gRPC, against a server of its own.
#![allow(missing_docs)]

use std::path::Path;

use gaung_tests::{
    deployment::Up,
    process::Process,
    requires::{self, Need, python},
};

#[test]
fn a_python_program_chats_by_grpc() {
    if !requires::has("a_python_program_chats_by_grpc", &[Need::PythonGrpc]) {
        return;
    }
    let up = Up::start(&[]);
    let server = up.server();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/grpc_chat.py").display().to_string();
    let mut chat = Process::start(python(), ["-u", &script, &server, "everyone", "Lina"]);
    let _ = chat.stdout_line("sign that it listens", |line| line == "listening");
    chat.write("halo dari Python\n");
    let _ = chat.stdout_line("its own message", |line| line == "1 Lina: halo dari Python");
    let _ = up.person("Budi").run(&["send", "everyone", "halo Lina"]).expect_code(0);
    let _ = chat.stdout_line("Budi's message", |line| line == "2 Budi: halo Lina");
    chat.close_stdin();
    let _ = chat.end().expect_code(0);
}
