use super::*;

fn load(text: &str) -> Result<(Config, Vec<Warning>), Vec<String>> {
    let file: Arc<Path> = Path::new("gateway.yaml").into();
    Config::parse(&file, text.as_bytes())
        .map_err(|faults| faults.iter().map(Fault::to_string).collect())
}
#[test]
fn a() {
    let c = std::fs::read_to_string("conf/gateway.yaml").unwrap();
    println!("{:#?}", load(&c));
    println!(
        "{:#?}",
        load(
            "listeners: [{address: 127.0.0.1:8000}, {address: x, tls: {}}]\nthreads: 0x12\nfoo: on\nregistry: {sqlite: on}\nlog: {access: on, level: 0123, format: 1e3}\nadmin: {token: s3cret}\nsession_keys: [{env: NOPE}]\nidentity_providers: \n- name: &a 5\n  issuer: https://u:p@x\n- name: *a\n  issuer: http://x\nauth_strategies:\n- {name: a, identity_provider: b, auth_methods: [session]}\napis: 7\n"
        )
    );
    println!("{:#?}", load("a: 1\na: 2\n"));
    println!("{:#?}", load("a: [1\nb: 2\n"));
    println!("{:#?}", load(""));
    println!("{:#?}", load("[1]"));
    println!("{:#?}", load("a: b: c"));
    println!("{:#?}", load("? [a]\n: 2\n"));
    println!("{:#?}", load("a: *b\n"));
    println!("{:#?}", load("a: !foo 1\nb: !!int x\n"));
    println!("{:#?}", load("\ta: 1\n"));
}
