"""Why a transaction ends as it does: what Postfix would ask, predicted, and held against a probe.

The rules are read from the running Postfix and its maps are asked themselves; what stands here is
the order in which smtpd asks (smtpd_check.c), never a copy of what the lab's rules say. Prediction
is pure: `evaluation` works on a `Configuration` and on `Maps`, which tests fill in as they like.
"""
