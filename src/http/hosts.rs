//! By which names this daemon may be asked. A page of another site can have its own name lead to
//! this machine (DNS rebinding) and would then read what is here as its own; but the browser sends
//! that name as `Host`. Pure.

use std::net::{IpAddr, SocketAddr};

/// Endings that nobody can register (RFC 6761, 6762, 8375, 9476, and `.internal`).
const PRIVATE: [&str; 6] = ["localhost", "local", "internal", "home.arpa", "test", "alt"];

/// The names under which the daemon answers.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    /// `daemon.hosts`, in lower case.
    configured: Vec<String>,
    /// Whether any name will do: on an address of the network, where nobody has said by which names
    /// it is known.
    any: bool,
}

impl Hosts {
    pub(super) fn new(listen: Option<SocketAddr>, configured: &[String]) -> Self {
        let any = configured.is_empty() && listen.is_some_and(|listen| !listen.ip().is_loopback());
        Self { configured: configured.iter().map(|name| name.to_ascii_lowercase()).collect(), any }
    }

    /// Whether `host`, a name or an address with or without a port, is one of them. No attacker has
    /// an address in place of a name, nor a name without a dot, as containers and machines of a
    /// local network have.
    pub(super) fn allow(&self, host: &str) -> bool {
        if self.any {
            return true;
        }
        let name = name(host).trim_end_matches('.').to_ascii_lowercase();
        let is_address = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_private =
            || PRIVATE.iter().any(|end| name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')));
        !name.is_empty()
            && (is_address(&name) || !name.contains('.') || is_private() || self.configured.contains(&name))
    }
}

/// Without the port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !is_bare_ipv6(host) => name,
        _ => host,
    }
}

fn is_bare_ipv6(host: &str) -> bool {
    host.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_else_can_own_is_refused_on_the_loopback_address() {
        let hosts = Hosts::new("127.0.0.1:9742".parse().ok(), &["Status.Example.org".to_owned()]);
        for allowed in [
            "127.0.0.1",
            "127.0.0.1:9742",
            "[::1]:9742",
            "[::1]",
            "::1",
            "localhost",
            "LOCALHOST:9742",
            "litekeeper:9742",
            "keeper.localhost",
            "nas.local:80",
            "x.svc.cluster.local",
            "status.example.org",
            "status.example.org:443",
            "status.example.org.",
        ] {
            assert!(hosts.allow(allowed), "{allowed}");
        }
        for refused in [
            "evil.example",
            "evil.example:9742",
            "127.0.0.1.evil.example",
            "xlocal.example",
            "",
            ":80",
            "a.status.example.org",
            "localhost.evil.example",
            "127.0.0.1.nip.io:9742",
        ] {
            assert!(!hosts.allow(refused), "{refused}");
        }
    }

    #[test]
    fn on_an_address_of_the_network_any_name_will_do_until_one_is_configured() {
        let listen = "0.0.0.0:9742".parse().ok();
        assert!(Hosts::new(listen, &[]).allow("db1.example.org:9742"));
        let hosts = Hosts::new(listen, &["db1.example.org".to_owned()]);
        assert!(hosts.allow("db1.example.org:9742") && !hosts.allow("evil.example"));
    }
}
