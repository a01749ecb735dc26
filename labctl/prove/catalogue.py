"""The mutations: each opens the lab, or closes it, in a way that some scenario must notice."""

from labctl.prove.mutation import ConfigChange, Edit, Mutation

_MAIN, _MASTER = "/etc/postfix/main.cf", "/etc/postfix/master.cf"
_YES, _NO = "/etc/postfix/ldap_login_may_send.cf", "/etc/postfix/ldap_login_may_not_send.cf"
_SENDER, _LOGINS = (
    "/etc/postfix/ldap_sender_reject_disabled.cf",
    "/etc/postfix/ldap_sender_logins.cf",
)
_ALIASES = "/etc/postfix/ldap_aliases.cf"
_SHADOW = "/etc/postfix/shadow.sed"
_DOVECOT = "/etc/dovecot/dovecot.conf"
_DOVECOT_LDAP = "/etc/dovecot/dovecot-ldap.conf.ext"


def _main(name: str, value: str) -> Edit:
    """Give a parameter of main.cf, which stands on one line, another value."""
    return Edit(_MAIN, rf"^{name} = .*$|^{name} =$", f"{name} = {value}")


def _config(dn: str, change: str) -> ConfigChange:
    return ConfigChange(f"dn: {dn}\nchangetype: modify\n{change}")


def _rule(number: int, rule: str) -> ConfigChange:
    """Put an access rule before the others."""
    return _config(_MDB, f"add: olcAccess\nolcAccess: {{{number}}}{rule}")


_MDB = "olcDatabase={1}mdb,cn=config"
_PEOPLE = 'dn.onelevel="ou=users,BASE"'
_SUBMISSION = "^  -o syslog_name=postfix/submission$"
_TAKE_OUT = r"smtpd_{0}_restrictions=\$relay_{0}_restrictions"

# ---- The policy is not asked, or not at every stage -------------------------------------------

_POLICY = (
    Mutation(
        "the policy is not asked at RCPT",
        (_main("hardened_client_restrictions", "permit_sasl_authenticated, reject"),),
        "bypass",
    ),
    Mutation(
        "the policy is not asked at DATA",
        (Edit(_MAIN, r"^(hardened_data_restrictions = .*), \$hardened_sending_policy", r"\1"),),
        "bypass",
    ),
    Mutation(
        "the policy is not asked at the end of data",
        (_main("hardened_end_of_data_restrictions", ""),),
        "bypass",
    ),
    Mutation(
        "a no of the directory is not asked for",
        (_main("hardened_sending_policy", "$hardened_yes, $hardened_unseen, reject"),),
        "offboarding",
    ),
    Mutation(
        "a no of the directory is only warned of",
        (
            _main(
                "hardened_sending_policy",
                "$hardened_yes, warn_if_reject $hardened_no, permit_sasl_authenticated, reject",
            ),
        ),
        "secondary-addresses",
    ),
    Mutation(
        "whoever signed in is let through before the policy",
        (
            _main(
                "hardened_sending_policy",
                "permit_sasl_authenticated, $hardened_yes, $hardened_no, reject",
            ),
        ),
        "offboarding",
    ),
    Mutation(
        "what the directory does not show is a yes",
        (_main("hardened_unseen", "check_sasl_access static:OK"),),
        "directory-away",
    ),
    Mutation(
        "the yes is not read from the directory",
        (_main("hardened_yes", "check_sasl_access static:OK"),),
        "offboarding",
    ),
    Mutation(
        "refusals are temporary",
        (
            Edit(
                _MAIN, r"^smtpd_delay_reject = yes$", "smtpd_delay_reject = yes\nsoft_bounce = yes"
            ),
        ),
        "offboarding",
    ),
    Mutation(
        "refusals come before the recipient",
        (_main("smtpd_delay_reject", "no"),),
        "offboarding",
    ),
    Mutation(
        "people are known by a file that was copied once",
        (
            Edit(_MAIN, r"\Z", "copied = inline:{ {alice = OK} {bob = OK} {carol = OK} }\n"),
            _main("hardened_sending_policy", "check_sasl_access $copied, reject"),
        ),
        "offboarding",
    ),
    Mutation(
        "the refusal does not name the policy",
        (Edit(_NO, "by directory policy", "for some reason"),),
        "offboarding",
    ),
)

# ---- The maps ask wrongly -----------------------------------------------------------------------

_MAPS = (
    Mutation(
        "the flag is misspelt in the filters",
        (
            Edit(_YES, "tnMailSendAllowed=FALSE", "tnMailSendAlowed=FALSE"),
            Edit(_NO, "tnMailSendAllowed=FALSE", "tnMailSendAlowed=FALSE"),
        ),
        "offboarding",
    ),
    Mutation(
        "the status is misspelt in the filters",
        (
            Edit(_YES, "tnAccountStatus", "tnAcountStatus"),
            Edit(_NO, "tnAccountStatus", "tnAcountStatus"),
        ),
        "status-values",
    ),
    Mutation(
        "the flag is not looked at",
        (Edit(_YES, r"\(!\(tnMailSendAllowed=FALSE\)\)", ""),),
        "secondary-addresses",
    ),
    Mutation(
        "any status is as good as active",
        (
            Edit(
                _YES,
                r"^query_filter = .*",
                "query_filter = (&(uid=%s)(!(tnMailSendAllowed=FALSE)))",
            ),
        ),
        "secondary-addresses",
    ),
    Mutation(
        "an absent status is a no",
        (Edit(_YES, r"\(!\(tnAccountStatus=\*\)\)", ""),),
        "status-values",
    ),
    Mutation(
        "a no is answered with OK",
        (Edit(_NO, r"^result_format = .*", "result_format = OK"),),
        "offboarding",
    ),
    Mutation(
        "a code without a text, which means OK",
        (Edit(_NO, r"^result_format = .*", "result_format = 554"),),
        "offboarding",
    ),
    Mutation(
        "the policy's map looks in one entry alone",
        (Edit(_YES, "^scope = one", "scope = base"),),
        "offboarding",
    ),
    Mutation(
        "the policy's map looks elsewhere",
        (Edit(_YES, "^search_base = ou=users,", "search_base = ou=services,"),),
        "offboarding",
    ),
    Mutation(
        "the policy's map does not begin TLS",
        (Edit(_YES, "^start_tls = yes", "start_tls = no"),),
        "offboarding",
    ),
    Mutation(
        "Postfix has a wrong password for the directory",
        (Edit(_YES, "^bind_pw = .*", "bind_pw = wrong"),),
        "offboarding",
    ),
    Mutation(
        "the login map forgets secondary addresses",
        (Edit(_LOGINS, r"\(mailLocalAddress=%s\)", ""),),
        "anti-spoofing",
    ),
    Mutation(
        "every login owns every address",
        (Edit(_LOGINS, r"^query_filter = .*", "query_filter = (objectClass=posixAccount)"),),
        "anti-spoofing",
    ),
    Mutation(
        "recipients have no secondary addresses",
        (Edit(_ALIASES, r"\(mailLocalAddress=%s\)", ""),),
        "delivery",
    ),
    Mutation(
        "mail for nobody is taken",
        (_main("smtpd_reject_unlisted_recipient", "no"),),
        "bypass",
    ),
)

# ---- Senders are not whom they say they are -----------------------------------------------------

_SENDERS = (
    Mutation(
        "senders are not compared with logins",
        (Edit(_MAIN, "reject_sender_login_mismatch, ", ""),),
        "anti-spoofing",
    ),
    Mutation(
        "senders are not compared with logins at RCPT",
        (
            Edit(
                _MAIN,
                "^smtpd_sender_restrictions = reject_sender_login_mismatch, ",
                "smtpd_sender_restrictions = ",
            ),
        ),
        "anti-spoofing",
    ),
    Mutation(
        "senders are not compared with logins at the end of data",
        (_main("hardened_end_of_data_restrictions", "$hardened_sending_policy"),),
        "bypass",
    ),
    Mutation(
        "a blank before a name is overlooked",
        (_main("hardened_forms", ""),),
        "bypass",
    ),
    Mutation(
        "programs beside Postfix may submit",
        (_main("authorized_submit_users", "static:all"),),
        "sendmail",
    ),
    Mutation(
        "the null sender is for everyone who signs in",
        (_main("hardened_null_sender", ""),),
        "anti-spoofing",
    ),
    Mutation(
        "port 25 takes our own senders",
        (_main("hardened_relay_sender_restrictions", ""),),
        "anti-spoofing",
    ),
    Mutation(
        "port 25 takes our own senders for the postmaster",
        (_main("hardened_relay_data_restrictions", "reject_unauth_pipelining"),),
        "bypass",
    ),
    Mutation(
        "a bare name belongs to our domain",
        (_main("myorigin", "$mydomain"),),
        "bypass",
    ),
    Mutation(
        "addresses with a route are taken",
        (_main("strict_rfc821_envelopes", "no"),),
        "bypass",
    ),
)

# ---- The doors are open -------------------------------------------------------------------------

_DOORS = (
    Mutation(
        "port 25 lets people sign in",
        (
            Edit(
                _MASTER,
                r"(postfix/relay\n)  -o smtpd_sasl_auth_enable=no\n",
                r"\1",
            ),
        ),
        "bypass",
    ),
    Mutation(
        "signing in is off",
        (_main("smtpd_sasl_auth_enable", "no"),),
        "offboarding",
    ),
    Mutation(
        "passwords go over the wire in the clear",
        (_main("smtpd_tls_security_level", "may"), _main("smtpd_tls_auth_only", "no")),
        "bypass",
    ),
    Mutation(
        "the bridge's network is trusted on port 25",
        (
            _main("mynetworks", "127.0.0.0/8 10.0.0.0/8"),
            _main("relay_relay_restrictions", "permit_mynetworks, reject_unauth_destination"),
        ),
        "anti-spoofing",
    ),
    Mutation(
        "the bridge's network may submit",
        (
            _main("mynetworks", "127.0.0.0/8 10.0.0.0/8"),
            _main("hardened_client_restrictions", "permit_mynetworks, $hardened_sending_policy"),
            _main(
                "smtpd_relay_restrictions", "permit_mynetworks, permit_sasl_authenticated, reject"
            ),
        ),
        "bypass",
    ),
    Mutation(
        "port 25 relays for anybody",
        (
            _main(
                "relay_relay_restrictions",
                "check_client_access static:OK, reject_unauth_destination",
            ),
        ),
        "anti-spoofing",
    ),
    Mutation(
        "VRFY tells who is there",
        (_main("disable_vrfy_command", "no"),),
        "bypass",
    ),
    Mutation(
        "a bare line feed ends a message",
        (_main("smtpd_forbid_bare_newline", "no"),),
        "bypass",
    ),
    Mutation(
        "commands that were sent too early are taken",
        (
            _main("smtpd_forbid_unauth_pipelining", "no"),
            Edit(_MAIN, "reject_unauth_pipelining, ", ""),
        ),
        "bypass",
    ),
)

# ---- The header is not looked at ----------------------------------------------------------------

_HEADER = (
    Mutation(
        "nobody looks at the header",
        (_main("hardened_milters", ""),),
        "header-from",
    ),
    Mutation(
        "a header that nobody could look at is taken",
        (_main("milter_default_action", "accept"),),
        "header-from",
    ),
    Mutation(
        "a header that nobody could look at is refused for good",
        (_main("milter_default_action", "reject"),),
        "header-from",
    ),
    Mutation(
        "the header of mail from outside is looked at",
        (_main("relay_milters", "$hardened_milters"),),
        "header-from",
    ),
    Mutation(
        "a NUL hides a header from the milter",
        (_main("message_reject_characters", ""),),
        "bypass",
    ),
)

# ---- The policy is rehearsed --------------------------------------------------------------------

_REHEARSED = (
    Mutation(
        "shadow stays on when it is switched off",
        (Edit(_SHADOW, r"\Z", "w /etc/postfix/main.cf.enforced\n"),),
        "shadow",
    ),
    Mutation(
        "shadow refuses whom it should warn of",
        (Edit(_SHADOW, r"^s/\^hardened_no = /&warn_if_reject /$", "s/^hardened_no = /& /"),),
        "shadow",
    ),
    Mutation(
        "shadow warns of everybody",
        (Edit(_SHADOW, r"\Z", "s/^hardened_yes = /&warn_if_reject $hardened_unseen, /\n"),),
        "shadow",
    ),
    Mutation(
        "shadow lets in who does not sign in",
        (Edit(_SHADOW, "permit_sasl_authenticated, reject", "permit"),),
        "shadow",
    ),
    Mutation(
        "shadow lets people send from any address",
        (Edit(_SHADOW, r"\Z", "/^smtpd_sender_/s/reject_sender_login_mismatch, //\n"),),
        "shadow",
    ),
    Mutation(
        "shadow warns on port 25, too",
        (Edit(_SHADOW, r"\Z", "s/^hardened_relay_sender_restrictions = /&warn_if_reject /\n"),),
        "shadow",
    ),
)

# ---- Mail is lost -------------------------------------------------------------------------------

_MAIL = (
    Mutation(
        "mail is accepted and lost",
        (_main("virtual_transport", "discard:"),),
        "offboarding",
    ),
    Mutation(
        "mail for other domains is not captured",
        (Edit(_MAIN, r", \$\{relayhost\?\{\}:\{regexp:[^}]*\}\}", ""),),
        "delivery",
    ),
)

# ---- Dovecot ------------------------------------------------------------------------------------

_SIGNING_IN = (
    Mutation(
        "guessing at IMAP gets no slower",
        (Edit(_DOVECOT, "(anvil-auth-penalty {\n    mode = )0600", r"\g<1>0"),),
        "brute-force",
    ),
    Mutation(
        "a session may guess on and on",
        (Edit(_MASTER, _SUBMISSION, r"\g<0>\n  -o smtpd_hard_error_limit=1000"),),
        "brute-force",
    ),
    Mutation(
        "an address may sign in any number of times",
        (Edit(_MASTER, _SUBMISSION, r"\g<0>\n  -o smtpd_client_auth_rate_limit=0"),),
        "brute-force",
    ),
    Mutation(
        "Dovecot remembers passwords",
        (Edit(_DOVECOT, "^auth_cache_size = 0", "auth_cache_size = 10M"),),
        "cache",
    ),
    Mutation(
        "Postfix is told the name that was typed",
        (Edit(_DOVECOT_LDAP, "^pass_attrs = .*", "pass_attrs ="),),
        "bypass",
    ),
    Mutation(
        "nobody has a mailbox",
        (Edit(_DOVECOT_LDAP, r"^user_filter = .*", "user_filter = (uid=nobody)"),),
        "offboarding",
    ),
)

# ---- The directory ------------------------------------------------------------------------------

_DIRECTORY = (
    Mutation(
        "strangers may bind",
        (_config("cn=config", "delete: olcDisallows\n-\ndelete: olcRequires"),),
        "directory-rights",
    ),
    Mutation(
        "passwords may come in the clear",
        (
            _config("cn=config", "replace: olcSecurity\nolcSecurity: simple_bind=0"),
            _config(_MDB, "add: olcSecurity\nolcSecurity: simple_bind=0"),
        ),
        "directory-rights",
    ),
    Mutation(
        "people may write their own policy",
        (_rule(0, f"to {_PEOPLE} attrs=tnMailSendAllowed by self write by * break"),),
        "directory-rights",
    ),
    Mutation(
        "people may write their own status",
        (_rule(0, f"to {_PEOPLE} attrs=tnAccountStatus by self write by * break"),),
        "directory-rights",
    ),
    Mutation(
        "people may write their own addresses",
        (_rule(0, f"to {_PEOPLE} attrs=mailLocalAddress by self write by * break"),),
        "directory-rights",
    ),
    Mutation(
        "people read each other's hashes",
        (_rule(0, f"to {_PEOPLE} attrs=userPassword by users read by * break"),),
        "directory-rights",
    ),
    Mutation(
        "people see each other's policy",
        (_rule(0, f"to {_PEOPLE} attrs=tnMailSendAllowed by users read by * break"),),
        "directory-rights",
    ),
    Mutation(
        "the policy-admin may write addresses",
        (
            _rule(
                0,
                f"to {_PEOPLE} attrs=mailLocalAddress "
                'by dn.exact="cn=policy-admin,ou=services,BASE" write by * break',
            ),
        ),
        "directory-rights",
    ),
    Mutation(
        "Dovecot sees the policy",
        (
            _rule(
                0,
                f"to {_PEOPLE} attrs=tnAccountStatus "
                'by dn.exact="cn=dovecot,ou=services,BASE" read by * break',
            ),
        ),
        "directory-rights",
    ),
    Mutation(
        "Postfix may not see the policy",
        (
            _rule(
                0,
                "to attrs=tnMailSendAllowed,tnAccountStatus "
                'by dn.exact="cn=postfix,ou=services,BASE" none by * break',
            ),
        ),
        "offboarding",
    ),
    Mutation(
        "Postfix may not see people at all",
        (_rule(0, 'to * by dn.exact="cn=postfix,ou=services,BASE" none by * break'),),
        "offboarding",
    ),
)

# ---- The usual rule, as it is written without the others ----------------------------------------

_BASELINE = (
    Mutation(
        "baseline: the policy is not asked",
        (
            Edit(
                _MAIN,
                "^smtpd_sender_restrictions = .*",
                "smtpd_sender_restrictions = reject_sender_login_mismatch",
            ),
        ),
        "offboarding",
        "baseline",
    ),
    Mutation(
        "baseline: the policy is only warned of",
        (
            Edit(
                _MAIN,
                "^(smtpd_sender_restrictions = reject_sender_login_mismatch,) ",
                r"\1 warn_if_reject ",
            ),
        ),
        "offboarding",
        "baseline",
    ),
    Mutation(
        "baseline: whoever signed in is let through before the policy",
        (
            Edit(
                _MAIN,
                "^(smtpd_sender_restrictions = reject_sender_login_mismatch,) ",
                r"\1 permit_sasl_authenticated, ",
            ),
        ),
        "offboarding",
        "baseline",
    ),
    Mutation(
        "baseline: the flag is misspelt",
        (Edit(_SENDER, "tnMailSendAllowed=FALSE", "tnMailSendAlowed=FALSE"),),
        "send-disabled",
        "baseline",
    ),
    Mutation(
        "baseline: the sender's map answers OK",
        (Edit(_SENDER, r"^result_format = .*", "result_format = OK"),),
        "offboarding",
        "baseline",
    ),
)

MUTATIONS: tuple[Mutation, ...] = (
    *_POLICY,
    *_MAPS,
    *_SENDERS,
    *_DOORS,
    *_HEADER,
    *_REHEARSED,
    *_MAIL,
    *_SIGNING_IN,
    *_DIRECTORY,
    *_BASELINE,
)
