"""One conversation each, in the protocol's own words: SMTP, IMAP, LDAP.

Every line passes through a tap that masks secrets, and foreign errors become ours here.
"""
