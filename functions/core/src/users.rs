//! Users: whoever brings a valid token may register once, under an e-mail address that nobody else has.

use domain::facts::core::{USER_REGISTERED, UserRegistered};
use domain::mail::address::Address;
use guest::{Answer, Code, Command, Fact, Problem, Tx, now_ms};
use serde::Deserialize;

use crate::store;

const LOCALE_BYTES_MAX: usize = 35;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    email: String,
    #[serde(default = "english")]
    locale: String,
}

/// `POST /core/v1/users` `{email, locale}`: the token's `sub` becomes a user. A repeat answers the same user.
pub async fn register(tx: &Tx<'_>, command: &Command) -> Result<Answer, Problem> {
    let wish = command.json::<Registration>()?;
    let user = user(&command.principal()?.id, wish)?;
    if let Some(registered) = store::user(tx, &user.user).await? {
        return again(&registered, &user);
    }
    if !store::insert_user(tx, &user, now_ms()).await? {
        return Err(Problem::new(Code::InvalidState, "this e-mail address is registered already; use another one"));
    }
    Ok(Answer::created(&user).and_tell([Fact::new(USER_REGISTERED, &user.user, &user)]))
}

fn again(registered: &UserRegistered, wish: &UserRegistered) -> Result<Answer, Problem> {
    if registered == wish {
        return Ok(Answer::ok(registered));
    }
    Err(Problem::new(Code::InvalidState, "you are registered already, with another e-mail address or locale"))
}

fn user(id: &str, wish: Registration) -> Result<UserRegistered, Problem> {
    let email = Address::parse(&wish.email).map_err(|refusal| Problem::validation(format!("`email`: {refusal}")))?;
    let tag = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if wish.locale.len() > LOCALE_BYTES_MAX || !wish.locale.split('-').all(tag) {
        return Err(Problem::validation("`locale` is a language tag such as \"en\" or \"de-AT\""));
    }
    Ok(UserRegistered { user: id.to_owned(), email: email.as_str().to_owned(), locale: wish.locale })
}

fn english() -> String {
    "en".to_owned()
}
