//! Cases of adapters: what comes in.

use std::sync::Arc;

use url::Url;

use super::bench::{Bench, Forbidden, answered, equal, messages};
use super::platform::{Mood, Platform};
use super::{Case, Finding, cases, hostile};
use crate::message::{FaultKind, HttpRequest, Message};
use crate::plugin::manifest::{Egress, EgressHost, SelfTest};
use crate::plugin::{Reception, selftest};

pub const CASES: &[Case] = cases![
    "a golden request brings a message that says who wrote what, and where" => brings_a_message,
    "the same request a second later is the same message" => is_the_same_message,
    "a request that was made with other secrets is refused as unauthorized" => refuses_a_forger,
    "a request without one of its headers, or with another value in it, is refused or means the same" => minds_its_headers,
    "a request of another method, path or query is answered" => answers_other_requests,
    "a body that is cut short or has one byte changed is answered" => survives_damage,
    "a body that is no request of the platform's brings no message" => refuses_garbage,
    "receiving asks for neither HTTP nor memory" => receives_alone,
    "receiving a megabyte takes no longer than the manifest's time" => is_quick,
    "enriching hands a message on, or tells of trouble that passes" => enriches,
    "locating what there is not is told as a fault" => locates,
];

async fn brings_a_message(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        let brought = bench.messages(&test).await?;
        if brought.is_empty() {
            return Err(format!("`{}` brings none", test.name));
        }
        for message in brought {
            let named = [
                ("id", &message.id),
                ("conversation", &message.conversation),
                ("sender", &message.sender.id),
            ];
            if let Some((what, _)) = named.iter().find(|(_, value)| value.is_empty()) {
                return Err(format!("`{}`: its {what} is empty", test.name));
            }
            if message.text.is_empty() && message.attachments.is_empty() {
                return Err(format!("`{}`: it has neither text nor attachment", test.name));
            }
        }
    }
    Ok(())
}

async fn is_the_same_message(bench: &Bench) -> Finding {
    let known = |messages: Vec<Message>| -> Vec<_> {
        messages.into_iter().map(|message| (message.id, message.conversation, message.text)).collect()
    };
    for test in bench.samples()? {
        let first = known(bench.messages(&test).await?);
        let later = SelfTest { clock_ms: test.clock_ms + 1000, ..test.clone() };
        equal(&test.name, &first, &known(bench.messages(&later).await?))?;
    }
    Ok(())
}

async fn refuses_a_forger(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        let mut forged = test.clone();
        forged.secrets.values_mut().for_each(|secret| *secret = other_secret(secret));
        let reception = bench.receive(&forged, selftest::request(&test)).await?;
        match &reception {
            Reception::Refuse(fault) if fault.kind == FaultKind::Unauthorized => {}
            other => return Err(format!("`{}` under other secrets is {}", test.name, told(other))),
        }
    }
    Ok(())
}

/// As long and of the same letters, so that it is as well formed.
fn other_secret(secret: &str) -> String {
    let next = |c: char| match c {
        'z' => 'a',
        'Z' => 'A',
        '9' => '0',
        'a'..='y' | 'A'..='Y' | '0'..='8' => char::from(c as u8 + 1),
        other => other,
    };
    secret.chars().map(next).collect()
}

async fn minds_its_headers(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        let request = selftest::request(&test);
        let meant = bench.messages(&test).await?;
        for at in 0..request.headers.len() {
            let mut without = request.clone();
            let (name, value) = without.headers.remove(at);
            let mut changed = request.clone();
            changed.headers[at].1 = other_secret(&value);
            for (how, altered) in [("without", without), ("with another", changed)] {
                let came = bench.receive(&test, altered).await?;
                let is_refused = matches!(came, Reception::Refuse(_));
                if !is_refused && messages(&came) != meant {
                    return Err(format!("`{}` {how} `{name}` is {}", test.name, told(&came)));
                }
            }
        }
    }
    Ok(())
}

async fn answers_other_requests(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        let golden = selftest::request(&test);
        let empty = HttpRequest { body: Default::default(), headers: Vec::new(), ..golden.clone() };
        let twice = golden.headers.iter().chain(&golden.headers).cloned().collect();
        let long = vec![("x-long".to_owned(), "v".repeat(8 << 10)); 16];
        for request in [
            HttpRequest { method: "GET".to_owned(), ..empty.clone() },
            HttpRequest { method: "DELETE".to_owned(), ..golden.clone() },
            HttpRequest { path: "/../%00/\u{202e}".to_owned(), ..golden.clone() },
            HttpRequest { query: "a=%ff&a&=b&echostr=\u{0}&signature[]=1".to_owned(), ..golden.clone() },
            HttpRequest { query: "q=".to_owned() + &"%41".repeat(2000), ..empty },
            HttpRequest { headers: twice, ..golden.clone() },
            HttpRequest { headers: long, ..golden },
        ] {
            no_defect(&bench.receive(&test, request).await?)?;
        }
    }
    Ok(())
}

async fn survives_damage(bench: &Bench) -> Finding {
    const PLACES: usize = 24;
    for test in bench.samples()? {
        let golden = selftest::request(&test);
        for place in 0..PLACES {
            let at = golden.body.len() * place / PLACES;
            let mut flipped = golden.body.to_vec();
            if let Some(byte) = flipped.get_mut(at) {
                *byte ^= 0x80 >> (place % 8);
            }
            for body in [golden.body.slice(..at), flipped.into()] {
                no_defect(&bench.receive(&test, HttpRequest { body, ..golden.clone() }).await?)?;
            }
        }
    }
    Ok(())
}

async fn refuses_garbage(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        let golden = selftest::request(&test);
        for (name, body) in hostile::bodies() {
            let came = bench.receive(&test, HttpRequest { body: body.into(), ..golden.clone() }).await;
            let came = came.map_err(|error| format!("{name}: {error}"))?;
            no_defect(&came).map_err(|error| format!("{name}: {error}"))?;
            if !messages(&came).is_empty() && !golden.body.is_empty() {
                return Err(format!("{name} is {}", told(&came)));
            }
        }
    }
    Ok(())
}

async fn receives_alone(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        let forbidden = Arc::new(Forbidden::default());
        let services = bench.services(&test, forbidden.clone(), forbidden.clone());
        let came = bench.release.receive(services, selftest::request(&test)).await;
        came.map_err(|error| error.to_string())?;
        equal("requests and uses of the memory", &0, &forbidden.asked())?;
    }
    Ok(())
}

/// The host ends a call that takes longer.
async fn is_quick(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        let body = format!("{{\"unheard-of\":\"{}\"}}", "word ".repeat((1 << 20) / 5 - 8));
        bench.receive(&test, HttpRequest { body: body.into(), ..selftest::request(&test) }).await?;
    }
    Ok(())
}

async fn enriches(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        for message in bench.messages(&test).await? {
            let platform = Platform::new(&bench.manifest, Mood::Kind);
            let came = bench.release.enrich(bench.open(&test, &platform), message.clone()).await;
            match answered("enrich", came)? {
                Ok(enriched) => {
                    equal("the message's id", &message.id, &enriched.id)?;
                    equal("its conversation", &message.conversation, &enriched.conversation)?;
                }
                Err(fault) if fault.is_passing() => {}
                Err(fault) => return Err(format!("`enrich` gives up for good: {}", fault.reason)),
            }
        }
    }
    Ok(())
}

async fn locates(bench: &Bench) -> Finding {
    for test in bench.samples()? {
        for reference in ["", "no-such-file", "../../etc/passwd", "\u{0}\u{202e}", "https://127.0.0.1/latest"]
        {
            let platform = Platform::new(&bench.manifest, Mood::Kind);
            let came = bench.release.locate(bench.open(&test, &platform), reference).await;
            if let Ok(url) = answered("locate", came)? {
                is_known(bench, &url).map_err(|error| format!("`{reference}`: {error}"))?;
            }
        }
    }
    Ok(())
}

/// The host would refuse any other place; an adapter that makes one up takes what people write for an address.
fn is_known(bench: &Bench, url: &str) -> Finding {
    let url = Url::parse(url).map_err(|_| "it becomes no URL".to_owned())?;
    let is_its = |rule: &Egress| match &rule.host {
        EgressHost::Name { host, .. } => url.host_str() == Some(host),
        EgressHost::Setting(_) => true,
    };
    let is_known = bench.manifest.egress.iter().any(is_its);
    if is_known { Ok(()) } else { Err(format!("it becomes a place of its own, `{url}`")) }
}

fn no_defect(reception: &Reception) -> Finding {
    match reception {
        Reception::Refuse(fault) if fault.kind == FaultKind::Internal => {
            Err(format!("`receive` calls this a defect of its own: {}", fault.reason))
        }
        _ => Ok(()),
    }
}

fn told(reception: &Reception) -> String {
    match reception {
        Reception::Answer(response) => format!("answered with {}", response.status),
        Reception::Accept(_) | Reception::Inquire(_) => "taken in".to_owned(),
        Reception::Refuse(fault) => format!("refused as {:?}: {}", fault.kind, fault.reason),
    }
}
