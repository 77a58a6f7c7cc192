//! Chromium without a screen, driven by its DevTools protocol: what a person's browser does with a page.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// A browser with one page. What it says and asks for is kept.
pub struct Chromium {
    process: Child,
    _profile: tempfile::TempDir,
    socket: Socket,
    session: String,
    count: u64,
    /// Errors and warnings of its console, and dialogs that opened.
    pub said: Vec<String>,
    /// The addresses that it asked for.
    pub asked: Vec<String>,
    loaded: bool,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Chromium {
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let process = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-first-run",
                "--disable-gpu",
                "--disable-background-networking",
                "--remote-debugging-port=0",
            ])
            // Tests run as root, in containers too: there is no sandbox of the browser's then. It reaches nothing but loopback.
            .args([
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ])
            .args(["--hide-scrollbars", "--force-color-profile=srgb", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("no chromium: run tests/cluster/prerequisites.sh browser");
        let port_file = profile.path().join("DevToolsActivePort");
        let until = Instant::now() + PATIENCE;
        let address = loop {
            let text = fs::read_to_string(&port_file).unwrap_or_default();
            if let Some((port, path)) = text.split_once('\n') {
                break format!("ws://127.0.0.1:{port}{}", path.trim());
            }
            assert!(Instant::now() < until, "chromium does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = tokio_tungstenite::connect_async_with_config(address, Some(config), true).await.unwrap();
        let mut chromium = Self {
            process,
            _profile: profile,
            socket,
            session: String::new(),
            count: 0,
            said: Vec::new(),
            asked: Vec::new(),
            loaded: false,
        };
        let target = chromium.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        chromium.session =
            chromium.call("Target.attachToTarget", attach).await["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            chromium.call(&format!("{domain}.enable"), json!({})).await;
        }
        chromium
    }

    /// Calls a method of the protocol.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.count += 1;
        let id = self.count;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("{method} is not answered"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    /// The next message, within `PATIENCE`; what happened is noted.
    async fn next(&mut self) -> Option<Value> {
        let message = timeout(PATIENCE, self.socket.next()).await.ok()??.unwrap();
        let message: Value = serde_json::from_str(message.to_text().unwrap_or_default()).unwrap_or_default();
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => self.said.push(params["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if params["type"] != "log" => self.said.push(params["args"].to_string()),
            "Log.entryAdded"
                if ["error", "warning"].contains(&params["entry"]["level"].as_str().unwrap_or_default()) =>
            {
                self.said.push(format!("{} {}", params["entry"]["text"], params["entry"]["url"]));
            }
            "Page.javascriptDialogOpening" => self.said.push(format!("a dialog: {}", params["message"])),
            "Network.requestWillBeSent" => {
                self.asked.push(params["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            "Page.loadEventFired" => self.loaded = true,
            _ => {}
        }
        Some(message)
    }

    /// Loads a page, and waits for all of it.
    pub async fn goto(&mut self, url: &str) {
        self.loaded = false;
        let answer = self.call("Page.navigate", json!({"url": url})).await;
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        if answer["loaderId"].is_null() {
            return; // Another fragment of the same page.
        }
        self.settle().await;
    }

    /// Waits until the page that is being loaded is there.
    pub async fn settle(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.loaded {
            assert!(self.next().await.is_some() && Instant::now() < until, "the page does not load");
        }
    }

    /// What an expression is on the page.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{}: {expression:.200}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true on the page.
    pub async fn until(&mut self, expression: &str) {
        let until = Instant::now() + PATIENCE;
        while self.eval(expression).await != true {
            assert!(Instant::now() < until, "never: {expression}; said: {:?}", self.said);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Presses a key.
    pub async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            other => panic!("no such key: {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Types a text where the focus is.
    pub async fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// As large as this, by this scheme of colours.
    pub async fn look(&mut self, (width, height): (u32, u32), scheme: &str) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// A picture of the whole page.
    pub async fn picture(&mut self, path: &Path) {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true})).await;
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()).unwrap();
    }
}
