//! What answers mean that are not what was asked for, and what to change.

use super::http::Answer;

/// What a proxy in front needs for WebSockets.
pub const UPGRADE_LINES: &str = "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";";
/// What keeps a proxy in front from cutting what is quiet: the server's ping comes every 120 s.
pub const TIMEOUT_LINES: &str = "proxy_read_timeout 300s;\nproxy_send_timeout 300s;";
/// Room for the request line of 100 channels and more.
pub const HEADER_LINES: &str = "large_client_header_buffers 4 16k;";
/// What signatures that do not fit come from.
pub const KEY_REMEDY: &str = "the key that signed is not the server's: make signature_key of the portal (.settings.php, or the settings of module pull) equal to the file that bx_push_security_key_file names, then: systemctl reload nginx";

/// Who was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A handshake.
    WebSocket,
    /// A poll.
    Poll,
    /// A publication.
    Publish,
}

impl Asked {
    fn role(self) -> &'static str {
        match self {
            Self::WebSocket | Self::Poll => "sub",
            Self::Publish => "pub",
        }
    }
}

/// The answer in a line.
pub fn shown(answer: &Answer) -> String {
    let mut text = format!("answered {}", answer.status);
    if (300..400).contains(&answer.status) && !answer.header("location").is_empty() {
        text.extend([" to ", answer.header("location")]);
    }
    let body = answer.shown();
    if !body.is_empty() {
        text.extend([", \"", &body, "\""]);
    }
    text
}

/// What to change.
pub fn remedy(asked: Asked, path: &str, answer: &Answer) -> String {
    let body = answer.shown();
    let upgrade = |why: &str| {
        format!(
            "{why}; in the location for {path} of the proxy in front add:\n{UPGRADE_LINES}\n{TIMEOUT_LINES}"
        )
    };
    match answer.status {
        400 | 403 if body.starts_with("4010") || body.starts_with("4021") => KEY_REMEDY.into(),
        400 if asked == Asked::WebSocket && body == "Bad Request" => format!(
            "for WebSockets the path must be that of the location, whole:\nlocation {path} {{ bx_push sub; access_log off; }}"
        ),
        400 | 414 | 431 | 494 if body.contains("Too Large") || answer.status != 400 => format!(
            "nginx has no room for this request line; in its http block, and on any proxy in front, add:\n{HEADER_LINES}"
        ),
        429 => {
            "too many connections have this channel: see bx_push_max_connections_per_channel".into()
        }
        301 | 302 | 307 | 308 => {
            "give the address that it redirects to; the portal's settings must name that one, too"
                .into()
        }
        401 | 403 => format!(
            "nothing may restrict {path} (auth_basic, allow, deny), nor a firewall for web applications"
        ),
        404 | 405 => format!(
            "no location takes {path} there; add to that server block:\nlocation {path} {{ bx_push {}; access_log off; }}",
            asked.role()
        ),
        502 | 504 => format!(
            "a proxy in front does not reach the nginx with the module, or in time: see its proxy_pass for {path}, and its error log"
        ),
        503 if asked == Asked::Publish => {
            "the workers have no link to push-sidecar, or it has no store: push-sidecar health"
                .into()
        }
        200 if asked == Asked::WebSocket && answer.header("content-type").contains("html") => {
            format!(
                "the site itself answered, not the push server: the location for {path} is missing or another one wins; add, before those with expressions:\nlocation ^~ {path} {{ bx_push sub; access_log off; }}\nor, on a proxy in front, a proxy_pass with:\n{UPGRADE_LINES}"
            )
        }
        200 | 400 | 426 if asked == Asked::WebSocket => {
            upgrade("the headers Upgrade and Connection do not pass")
        }
        _ => format!(
            "does {path} lead to a location with bx_push {}, on every proxy in between? See nginx's error log",
            asked.role()
        ),
    }
}

/// A close in words; the reason often begins with the code.
pub fn closed(code: u16, reason: &str) -> String {
    match reason {
        "" => format!("closed with {code}"),
        reason if reason.starts_with(&code.to_string()) => format!("closed with {reason}"),
        reason => format!("closed with {code}: {reason}"),
    }
}

/// What a close code means, and what to change.
pub fn close_remedy(code: u16) -> &'static str {
    match code {
        4010 => KEY_REMEDY,
        4029 => "too many connections have this channel: see bx_push_max_connections_per_channel",
        1009 => "a message was larger than bx_push_max_payload",
        1012 | 1001 => "nginx was reloaded or stopped: connect again",
        1006 => {
            "something cut the connection: a proxy's timeout (proxy_read_timeout 300s;), nginx that was stopped, or the network"
        }
        _ => "see nginx's error log",
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn answer(status: u16, kind: &'static str, body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().expect("a header"));
        Answer { status, headers, body: body.into(), took: std::time::Duration::ZERO }
    }

    #[test]
    fn each_answer_has_its_remedy() {
        for (asked, answer, line) in [
            (Asked::Poll, answer(400, "text/plain", "4010: Wrong Channel Id."), "signature_key"),
            (Asked::Poll, answer(414, "text/html", "<html>"), "large_client_header_buffers 4 16k;"),
            (
                Asked::Poll,
                answer(400, "text/html", "<html> 400 Request Header Or Cookie Too Large"),
                "large_client_header_buffers",
            ),
            (Asked::WebSocket, answer(404, "text/html", ""), "location /x/ { bx_push sub;"),
            (Asked::Publish, answer(404, "text/html", ""), "location /x/ { bx_push pub;"),
            (Asked::WebSocket, answer(400, "text/html", "Invalid Upgrade header"), "$http_upgrade"),
            (Asked::WebSocket, answer(400, "text/html", "Bad Request"), "the path must be"),
            (Asked::WebSocket, answer(426, "text/plain", ""), "$http_upgrade"),
            (Asked::WebSocket, answer(200, "text/plain", "#!NGINX"), "$http_upgrade"),
            (Asked::WebSocket, answer(200, "text/html; charset=x", "<html>"), "location ^~ /x/"),
            (Asked::WebSocket, answer(301, "text/html", ""), "redirects"),
            (Asked::WebSocket, answer(403, "text/html", ""), "auth_basic"),
            (Asked::Publish, answer(503, "text/plain", ""), "push-sidecar health"),
            (Asked::WebSocket, answer(502, "text/html", ""), "proxy_pass"),
        ] {
            let told = remedy(asked, "/x/", &answer);
            assert!(told.contains(line), "{answer:?}: {told}");
        }
    }
}
