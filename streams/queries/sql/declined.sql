-- Model versions that were declined, with the reason.
SELECT version, reason FROM promotions WHERE outcome = 'declined' ORDER BY version
