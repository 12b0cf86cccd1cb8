//! The page's files, which are compiled into the program.

use std::sync::OnceLock;

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

struct PageFile {
    path: &'static str,
    bytes: &'static [u8],
    tag: OnceLock<HeaderValue>,
}

macro_rules! files {
    ($($path:literal)+) => {
        static FILES: [PageFile; [$($path),+].len()] = [$(PageFile {
            path: $path,
            bytes: include_bytes!(concat!("../../../../clients/web/", $path)),
            tag: OnceLock::new(),
        }),+];
    };
}

files! {
    "css/base.css"
    "css/chat.css"
    "css/lab.css"
    "css/trust.css"
    "icon.svg"
    "index.html"
    "js/chat/acks.js"
    "js/chat/api.js"
    "js/chat/authors.js"
    "js/chat/chat.js"
    "js/chat/device.js"
    "js/chat/draft.js"
    "js/chat/identity.js"
    "js/chat/log.js"
    "js/chat/mention.js"
    "js/chat/moderation.js"
    "js/chat/outbox.js"
    "js/chat/people.js"
    "js/chat/receipts.js"
    "js/chat/room.js"
    "js/chat/session.js"
    "js/chat/signal.js"
    "js/chat/store.js"
    "js/lab/figures.js"
    "js/lab/main.js"
    "js/lab/plot.js"
    "js/lab/topology.js"
    "js/main.js"
    "js/trust/main.js"
    "js/view/author-mark.js"
    "js/view/composer.js"
    "js/view/dialogs.js"
    "js/view/dom.js"
    "js/view/exposure.js"
    "js/view/harmless.js"
    "js/view/icons.js"
    "js/view/members.js"
    "js/view/message.js"
    "js/view/nick.js"
    "js/view/notify.js"
    "js/view/page.js"
    "js/view/rich.js"
    "js/view/rooms.js"
    "js/view/search.js"
    "js/view/speech.js"
    "js/view/time.js"
    "js/view/timeline-items.js"
    "js/view/timeline.js"
    "js/view/words.js"
    "js/wire/authorship.js"
    "js/wire/bytes.js"
    "js/wire/content.js"
    "js/wire/ed25519.js"
    "js/wire/frames.js"
    "js/wire/items.js"
    "js/wire/policy.js"
    "js/wire/protobuf.js"
    "js/wire/run.js"
    "js/wire/sha2.js"
    "js/wire/signing.js"
    "lab.html"
    "trust.html"
}

/// Answers with a file; `/` is the chat, `/lab` the figures of the network, `/trust` how to install the site's root.
pub(super) async fn serve(request: Request) -> Response {
    let path = match request.uri().path().trim_start_matches('/') {
        "" => "index.html",
        "lab" => "lab.html",
        "trust" => "trust.html",
        path => path,
    };
    match FILES.iter().find(|file| file.path == path) {
        Some(file) => file.answer(request.headers()),
        None => (StatusCode::NOT_FOUND, "there is no such page\n").into_response(),
    }
}

impl PageFile {
    fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = self.tag();
        // Browsers revalidate every file and load those that changed, so that page and hub are of one version.
        let caching = [(CACHE_CONTROL, HeaderValue::from_static("no-cache")), (ETAG, tag.clone())];
        if headers.get(IF_NONE_MATCH) == Some(&tag) {
            return (StatusCode::NOT_MODIFIED, caching).into_response();
        }
        (caching, [(CONTENT_TYPE, self.content_type())], self.bytes).into_response()
    }

    fn tag(&self) -> HeaderValue {
        let made = self.tag.get_or_init(|| {
            let digest = Sha256::digest(self.bytes);
            let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            HeaderValue::try_from(format!("\"{hex}\"")).expect("hexadecimal digits fit a header")
        });
        made.clone()
    }

    fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("webmanifest") => "application/manifest+json",
            Some(_) | None => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    fn found(folder: &Path, root: &Path, paths: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                found(&path, root, paths);
            } else {
                paths.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_page_is_compiled_in_and_has_a_content_type() {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/web"));
        let mut there = BTreeSet::new();
        found(&root, &root, &mut there);
        there.retain(|path| !path.starts_with("screenshots/"));
        let carried: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(carried, there);
        for file in &FILES {
            assert_ne!(file.content_type(), "application/octet-stream", "{}", file.path);
        }
    }
}
