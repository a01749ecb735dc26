# shadow.sed - what `shadow on` makes of main.cf: the sending policy warns, and refuses nobody
#
# A refusal by the policy becomes a line in the log and is passed by (warn_if_reject, postconf(5)). What
# is no part of it refuses as before: who does not sign in, whose address it is, where mail may go.

s/^\(smtpd_sender_restrictions = .*\)check_sender_access /\1warn_if_reject check_sender_access /
s/^null_sender_deny_restrictions = /&warn_if_reject /
s/^hardened_no = /&warn_if_reject /
s/^hardened_unseen = /&warn_if_reject /

# Who was told no is not told as well that his policy cannot be seen. The list ends with a yes for those
# who signed in, and for nobody else. A directory that cannot be asked still defers.
s/^\(hardened_sending_policy = .*\$hardened_no, \)\(\$hardened_unseen, \)reject$/\1$shadow_told, \2permit_sasl_authenticated, reject\
shadow_told = check_sasl_access pipemap:{ldap:\/etc\/postfix\/ldap_login_may_not_send.cf, static:OK}/
