//! The mailbox: as much of Mailpit's HTTP API as a mail provider and a reader need. A mail comes in at `/api/v1/send`, is
//! kept, and can be listed and opened. The same `Message-ID` is kept once, and counted.

use std::path::Path;
use std::sync::Mutex;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::journal::Journal;
use super::serve::{self, Ask, Door, Say};
use crate::Error;

/// Mails that are listed when a reader does not say how many.
const LIST_DEFAULT: usize = 50;

/// The stand-in of a mail provider.
#[derive(Debug)]
pub struct Mailbox(Mutex<Mails>);

#[derive(Debug)]
struct Mails {
    journal: Journal,
    kept: Vec<Mail>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mail {
    id: String,
    message_id: String,
    received: String,
    /// The request, as it was sent.
    sent: Value,
    /// How often it came again.
    repeats: u32,
}

impl Mailbox {
    /// Opens the mailbox with what came before.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (journal, entries) = Journal::open::<Mail>(path)?;
        let mut mails = Mails { journal, kept: Vec::new() };
        entries.into_iter().for_each(|mail| mails.remember(mail));
        Ok(Mailbox(Mutex::new(mails)))
    }
}

impl Door for Mailbox {
    fn answer(&self, ask: Ask) -> Say {
        let mut mails = self.0.lock().expect("no holder of the lock panics");
        match (&ask.method, ask.path.as_str()) {
            (&Method::POST, "/api/v1/send") => mails.send(&ask),
            (&Method::GET, "/api/v1/messages") => mails.list(&ask),
            (&Method::DELETE, "/api/v1/messages") => mails.forget(),
            (&Method::GET, path) => match path.strip_prefix("/api/v1/message/") {
                Some(id) => mails.open(id),
                None => serve::status(StatusCode::NOT_FOUND),
            },
            _ => serve::status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }
}

impl Mails {
    fn send(&mut self, ask: &Ask) -> Say {
        let sent = ask.json();
        if let Some(problem) = problem(&sent) {
            return serve::json(StatusCode::BAD_REQUEST, &json!({ "Error": problem }));
        }
        let id = crate::random::token();
        let message_id = message_id(&sent).unwrap_or_else(|| format!("{id}@mailbox"));
        let mail = Mail { id, message_id, received: jiff::Timestamp::now().to_string(), sent, repeats: 0 };
        if let Err(error) = self.journal.append(&mail) {
            return serve::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "Error": error.to_string() }));
        }
        let answer = json!({ "ID": mail.id });
        self.remember(mail);
        serve::json(StatusCode::OK, &answer)
    }

    fn remember(&mut self, mail: Mail) {
        match self.kept.iter_mut().find(|kept| kept.message_id == mail.message_id) {
            Some(kept) => kept.repeats += 1,
            None => self.kept.push(mail),
        }
    }

    /// The newest first, as Mailpit lists them.
    fn list(&self, ask: &Ask) -> Say {
        let number = |name| ask.query(name).and_then(|text| text.parse::<usize>().ok());
        let (start, limit) = (number("start").unwrap_or(0), number("limit").unwrap_or(LIST_DEFAULT));
        let messages: Vec<Value> = self.kept.iter().rev().skip(start).take(limit).map(Mail::summary).collect();
        let total = self.kept.len();
        serve::json(
            StatusCode::OK,
            &json!({ "total": total, "start": start, "count": messages.len(), "messages": messages }),
        )
    }

    fn open(&self, id: &str) -> Say {
        match self.kept.iter().find(|mail| mail.id == id) {
            Some(mail) => serve::json(StatusCode::OK, &mail.whole()),
            None => serve::status(StatusCode::NOT_FOUND),
        }
    }

    fn forget(&mut self) -> Say {
        self.kept.clear();
        match self.journal.rewrite(&self.kept) {
            Ok(()) => serve::status(StatusCode::OK),
            Err(_) => serve::status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

impl Mail {
    fn summary(&self) -> Value {
        json!({
            "ID": self.id, "MessageID": self.message_id, "Created": self.received, "Repeats": self.repeats,
            "From": address(&self.sent["From"]), "To": addresses(&self.sent["To"]), "Subject": self.sent["Subject"],
        })
    }

    fn whole(&self) -> Value {
        let mut whole = self.summary();
        for member in ["Text", "HTML", "Headers", "Tags"] {
            whole[member] = self.sent[member].clone();
        }
        whole
    }
}

fn problem(sent: &Value) -> Option<&'static str> {
    if !sent.is_object() {
        return Some("the body is no JSON object");
    }
    if sent["From"]["Email"].as_str().is_none_or(|email| !email.contains('@')) {
        return Some("From.Email is no address");
    }
    let to = sent["To"].as_array()?;
    let good = !to.is_empty() && to.iter().all(|one| one["Email"].as_str().is_some_and(|email| email.contains('@')));
    (!good).then_some("To has no address, or a wrong one")
}

/// Ours is in the request's `Headers`; header names know no case.
fn message_id(sent: &Value) -> Option<String> {
    let headers = sent["Headers"].as_object()?;
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("message-id"))?;
    Some(value.as_str()?.trim_matches(['<', '>']).to_owned())
}

/// A request says `Email`, an answer `Address`: so does Mailpit.
fn address(sent: &Value) -> Value {
    json!({ "Address": sent["Email"], "Name": sent["Name"].as_str().unwrap_or_default() })
}

fn addresses(sent: &Value) -> Vec<Value> {
    sent.as_array().into_iter().flatten().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn ask(method: Method, path: &str, body: &Value) -> Ask {
        let body = body.to_string().into();
        Ask { method, path: path.to_owned(), query: String::new(), headers: http::HeaderMap::new(), body }
    }

    fn said(say: Say) -> (u16, Value) {
        let status = say.status().as_u16();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(say.into_body().collect()).unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn mail(message_id: &str) -> Value {
        json!({
            "From": { "Email": "till@localhost" }, "To": [{ "Email": "alice@example.org" }], "Subject": "Welcome",
            "Text": "Hello", "Headers": { "Message-ID": message_id },
        })
    }

    #[test]
    fn a_mail_is_kept_once_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailbox.jsonl");
        let mailbox = Mailbox::open(&path).unwrap();
        for id in ["<a@till>", "<b@till>", "<a@till>"] {
            assert_eq!(said(mailbox.answer(ask(Method::POST, "/api/v1/send", &mail(id)))).0, 200);
        }
        let again = Mailbox::open(&path).unwrap();
        let (_, list) = said(again.answer(ask(Method::GET, "/api/v1/messages", &Value::Null)));
        assert_eq!(list["total"], 2);
        assert_eq!(list["messages"][1]["Repeats"], 1);
        assert_eq!(list["messages"][0]["To"][0]["Address"], "alice@example.org");
        let id = list["messages"][1]["ID"].as_str().unwrap();
        let (_, whole) = said(again.answer(ask(Method::GET, &format!("/api/v1/message/{id}"), &Value::Null)));
        assert_eq!(whole["Text"], "Hello");
    }

    #[test]
    fn a_mail_without_a_recipient_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::open(&folder.path().join("mailbox.jsonl")).unwrap();
        let mut wrong = mail("<a@till>");
        wrong["To"] = json!([]);
        let (status, answer) = said(mailbox.answer(ask(Method::POST, "/api/v1/send", &wrong)));
        assert_eq!((status, answer["Error"].as_str().unwrap()), (400, "To has no address, or a wrong one"));
    }
}
