"""DeLong's variance of an AUC (DeLong, DeLong and Clarke-Pearson 1988), from its definition."""


def delong_variance(scores, is_member) -> float:
    members, others = scores[is_member], scores[~is_member]
    right = (members[:, None] > others) + 0.5 * (members[:, None] == others)
    by_member, by_other = right.mean(axis=1), right.mean(axis=0)
    return float(by_member.var(ddof=1) / len(members) + by_other.var(ddof=1) / len(others))
