"""Models at an address: what is asked, stored, tried again and paid."""
