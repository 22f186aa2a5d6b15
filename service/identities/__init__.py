"""The cloud identities of ServiceAccounts: what the cluster signs for an account becomes credentials of a cloud."""
