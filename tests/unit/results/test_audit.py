from tests.made.audits import INFERRERS, audit_of, realistic, scored, skipped


def test_ranking_goes_by_the_first_inferrer_then_by_content_then_by_path():
    audit = realistic(200)
    scores = [row.findings[0].score for row in audit.ranked()]
    assert scores == sorted(scores, reverse=True)
    assert len(audit.ranked()) == len(audit.scored) == 200
    twins = [scored("same"), scored("other"), scored("same")]
    assert audit_of(twins).ranked() == audit_of(twins[::-1]).ranked()


def test_ranking_without_inferrers_goes_by_mean_similarity():
    audit = audit_of([scored(str(i), ()) for i in range(20)], ())
    means = [row.mean_similarity for row in audit.ranked()]
    assert means == sorted(means, reverse=True)


def test_reasons_are_counted_the_most_frequent_first():
    audit = audit_of([skipped("a", "z: 1"), skipped("b", "m: 2"), skipped("c", "m: 3: x")])
    assert list(audit.skip_reasons().items()) == [("m", 2), ("z", 1)]


def test_the_long_form_has_a_record_a_file_and_inferrer():
    audit = audit_of([scored("a"), skipped("b")])
    records = audit.to_dicts()
    assert [(r["path"], r["inferrer"]) for r in records] == [
        *(("a", facts.name) for facts in INFERRERS),
        ("b", None),
    ]
    assert list(audit) == list(audit.rows)
    assert audit[1].path == "b"
    assert len(audit) == 2
    assert len(audit.to_pandas()) == 4
