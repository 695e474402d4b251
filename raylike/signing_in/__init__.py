"""How friends lend a token: they sign in at their network, and a page here receives what it hands out.

    networks   where each network signs people in, and what it is asked for
    exchange   a code becomes a token
    visits     sign-ins that have begun and not ended, each bound to one browser
    pages      what friends see
    server     the page's address, from the first visit to the last token

Knows OAuth 2. Knows nothing of where tokens are kept: whoever receives them is handed in.
"""
