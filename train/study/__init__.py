"""Many runs side by side: protocols, comparison, reports."""
