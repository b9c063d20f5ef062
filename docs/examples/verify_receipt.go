// Checks the receipt of an erasure, without Sightline: one file, Go 1.21 and its standard library.
//
//	go run verify_receipt.go RECEIPT.json --key PUBLIC_KEY_FILE [--subject PSEUDONYM --salt HEX]
//
// Exit codes: 0 valid, 1 not valid, 2 wrong arguments or files. (`go run` itself ends with 1 for either; build it
// to tell them apart.)
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	form       = "sightline-receipt-1"
	bytesMax   = 4096
	integerMax = 1<<53 - 1
	timeNsMax  = 1 << 62
)

var (
	places = strings.Fields(`decisions glasses.captured glasses.zoned glasses.derived glasses.answers
		glasses.examples glasses.models glasses.consents glasses.notices glasses.state glasses.rejected glasses.lineage
		store reads logs backups device exports other-consumers bystanders`)
	levels  = strings.Fields("stopped hidden unreadable rewritten absent refitted not-verifiable out-of-scope")
	times   = []string{"requested_ns", "stopped_ns", "keys_destroyed_ns", "finished_ns"}
	integer = regexp.MustCompile(`^(0|[1-9][0-9]{0,15})$`)
)

// object is an object of JSON; its values are objects, lists, strings and integers.
type object = map[string]any

// shape has, for each name of an object, a pattern that its string matches, or "list", "object", "integer".
type shape = map[string]string

const (
	someText, anyText = `^[ -~]+$`, `^[ -~]*$`
	aTime             = `^[1-9][0-9]{0,18}$`
	aDigest           = `^[0-9a-f]{16,64}$`
)

var (
	envelope = shape{"form": `^` + form + `$`, "key": anyText, "receipt": "object", "signature": anyText}
	receipts = shape{
		"form": `^` + form + `$`, "id": `^[0-9a-f]{32}$`, "subject": `^[0-9a-f]{64}$`, "scope": someText,
		"policy_version": someText, "requested_ns": aTime, "stopped_ns": aTime, "keys_destroyed_ns": aTime,
		"finished_ns": aTime, "places": "list", "kept": "list", "refitted": "list",
	}
	lists = map[string]shape{
		"places": {
			"place": someText, "level": someText, "count": "integer", "at_ns": `^(0|[1-9][0-9]{0,18})$`, "note": anyText,
		},
		"kept":     {"item": someText, "reason": someText, "count": "integer"},
		"refitted": {"model": `^[a-z0-9/.-]{1,100}$`, "digest_before": aDigest, "digest_after": aDigest},
	}
)

// value reads the next value; readers disagree about an object that has a name twice, so it is refused.
func value(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, errors.New("it is no JSON")
	}
	switch token {
	case json.Delim('{'):
		values := object{}
		for decoder.More() {
			name, err := value(decoder)
			if err != nil {
				return nil, err
			}
			text, _ := name.(string)
			if _, twice := values[text]; twice {
				return nil, errors.New("it has a name twice in one object")
			}
			if values[text], err = value(decoder); err != nil {
				return nil, err
			}
		}
		_, err = decoder.Token()
		return values, err
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			each, err := value(decoder)
			if err != nil {
				return nil, err
			}
			list = append(list, each)
		}
		_, err = decoder.Token()
		return list, err
	}
	if number, is := token.(json.Number); is && !integer.MatchString(number.String()) {
		return nil, fmt.Errorf("it has the number %s, and a receipt only has integers", number)
	}
	return token, nil
}

// canonical writes a value as RFC 8785 does; names and texts are printable ASCII.
func canonical(to *bytes.Buffer, value any) {
	switch held := value.(type) {
	case object:
		names := make([]string, 0, len(held))
		for name := range held {
			names = append(names, name)
		}
		sort.Strings(names)
		for number, name := range names {
			to.WriteByte("{,"[min(number, 1)])
			canonical(to, name)
			to.WriteByte(':')
			canonical(to, held[name])
		}
		to.WriteString("{}"[min(len(names), 1):])
	case []any:
		to.WriteByte('[')
		for number, each := range held {
			if number > 0 {
				to.WriteByte(',')
			}
			canonical(to, each)
		}
		to.WriteByte(']')
	case string:
		to.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(held) + `"`)
	default:
		fmt.Fprint(to, held)
	}
}

// parsed gives the values of the file, if its bytes are the canonical ones.
func parsed(content []byte) (object, error) {
	if len(content) > bytesMax {
		return nil, fmt.Errorf("it has more than %d bytes", bytesMax)
	}
	for _, each := range content {
		if each < 32 || each > 126 {
			return nil, errors.New("it has bytes other than printable ASCII")
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	top, err := value(decoder)
	if err != nil {
		return nil, err
	}
	var again bytes.Buffer
	if canonical(&again, top); !bytes.Equal(again.Bytes(), content) {
		return nil, errors.New("its bytes are not the canonical ones: spaces, order or escapes differ")
	}
	values, is := top.(object)
	if !is {
		return nil, errors.New("it is no object of JSON")
	}
	return values, nil
}

// shaped refuses an object that has other names or values than its shape says.
func shaped(from any, expected shape, where string) error {
	values, is := from.(object)
	if !is || len(values) != len(expected) {
		return fmt.Errorf("%s: other names than expected", where)
	}
	for name, kind := range expected {
		held, has := values[name]
		switch kind {
		case "list":
			_, has = held.([]any)
		case "object":
			_, has = held.(object)
		case "integer":
			var number json.Number
			number, has = held.(json.Number)
			count, err := strconv.ParseInt(number.String(), 10, 64)
			has = has && err == nil && count <= integerMax
		default:
			var text string
			text, has = held.(string)
			has = has && regexp.MustCompile(kind).MatchString(text)
		}
		if !has {
			return fmt.Errorf("%s: %s is missing or has another form", where, name)
		}
	}
	return nil
}

// checkSignature refuses what the trusted key did not sign; the key in the file is only a claim.
func checkSignature(signed object, trusted ed25519.PublicKey) error {
	parts := map[string][]byte{"key": nil, "signature": nil}
	for name := range parts {
		text := signed[name].(string)
		part, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || base64.StdEncoding.EncodeToString(part) != text {
			return fmt.Errorf("its %s is no base64 of RFC 4648", name)
		}
		parts[name] = part
	}
	if !bytes.Equal(parts["key"], trusted) {
		return errors.New("another key signed it than the one that you trust")
	}
	var content bytes.Buffer
	if canonical(&content, signed["receipt"]); !ed25519.Verify(trusted, content.Bytes(), parts["signature"]) {
		return errors.New("the signature is not one of this receipt: it was changed since")
	}
	return nil
}

// checkContent refuses a receipt that is incomplete or contradicts itself, whoever signed it.
func checkContent(receipt object) error {
	if err := shaped(receipt, receipts, "the receipt"); err != nil {
		return err
	}
	for name, expected := range lists {
		for _, each := range receipt[name].([]any) {
			if err := shaped(each, expected, name); err != nil {
				return err
			}
		}
	}
	if len(receipt["kept"].([]any)) == 0 {
		return errors.New("it does not say what is kept")
	}
	last := int64(1)
	for _, name := range times {
		at := nanoseconds(receipt, name)
		if at < last || at > timeNsMax {
			return fmt.Errorf("its times are not in the order %v", times)
		}
		last = at
	}
	return checkPlaces(receipt)
}

func checkPlaces(receipt object) error {
	named, refitted := []string{}, false
	first, last := nanoseconds(receipt, times[0]), nanoseconds(receipt, times[3])
	for _, each := range receipt["places"].([]any) {
		outcome := each.(object)
		place, level := outcome["place"].(string), outcome["level"].(string)
		claims := level != "not-verifiable" && level != "out-of-scope"
		at := nanoseconds(outcome, "at_ns")
		switch {
		case !contains(levels, level):
			return fmt.Errorf("%s: %s is no level", place, level)
		case !claims && outcome["note"] == "":
			return fmt.Errorf("%s: it does not say why it is %s", place, level)
		case claims && at == 0:
			return fmt.Errorf("%s: it does not say since when it is %s", place, level)
		case at != 0 && (at < first || at > last):
			return fmt.Errorf("%s: its time is outside the erasure", place)
		case level == "refitted" && place != "glasses.models":
			return fmt.Errorf("%s: only models are refitted", place)
		}
		named, refitted = append(named, place), refitted || level == "refitted"
	}
	expected := append([]string{}, places...)
	sort.Strings(named)
	sort.Strings(expected)
	if strings.Join(named, " ") != strings.Join(expected, " ") {
		return errors.New("it does not name every place exactly once")
	}
	if refitted != (len(receipt["refitted"].([]any)) > 0) {
		return errors.New("models without digests, or digests without models")
	}
	return nil
}

func contains(texts []string, text string) bool {
	for _, each := range texts {
		if each == text {
			return true
		}
	}
	return false
}

// nanoseconds gives a time of an object that has its shape; one that is too large is past the end of time.
func nanoseconds(of object, name string) int64 {
	at, err := strconv.ParseInt(of[name].(string), 10, 64)
	if err != nil {
		return timeNsMax + 1
	}
	return at
}

func verify(content []byte, trusted ed25519.PublicKey, subject string) (object, error) {
	signed, err := parsed(content)
	if err == nil {
		err = shaped(signed, envelope, "the file")
	}
	if err == nil {
		err = checkSignature(signed, trusted)
	}
	if err != nil {
		return nil, err
	}
	receipt := signed["receipt"].(object)
	if err = checkContent(receipt); err != nil {
		return nil, err
	}
	if subject != "" && subject != receipt["subject"] {
		return nil, errors.New("it is of another person")
	}
	return receipt, nil
}

func tell(receipt object) {
	fmt.Printf("Erasure %s, scope: %s, policy %s.\n", receipt["id"], receipt["scope"], receipt["policy_version"])
	for _, name := range times {
		at := time.Unix(0, nanoseconds(receipt, name)).UTC().Format(time.RFC3339)
		fmt.Printf("%s %s\n", strings.ReplaceAll(strings.TrimSuffix(name, "_ns"), "_", " "), at)
	}
	for _, each := range receipt["places"].([]any) {
		outcome := each.(object)
		fmt.Printf("%s: %s, %s; %s\n", outcome["place"], outcome["level"], outcome["count"], outcome["note"])
	}
	for _, each := range receipt["kept"].([]any) {
		item := each.(object)
		fmt.Printf("Kept: %s, %s, because of %s\n", item["item"], item["count"], item["reason"])
	}
	for _, each := range receipt["refitted"].([]any) {
		model := each.(object)
		fmt.Printf("Refitted: %s, digest %s, now %s\n", model["model"], model["digest_before"], model["digest_after"])
	}
	fmt.Println("A signature proves who says this and that nobody changed it, not that it is true.")
}

// run gives the exit code.
func run(arguments []string) int {
	refuse := func(sentence string) int {
		fmt.Fprintln(os.Stderr, sentence)
		return 2
	}
	flags := flag.NewFlagSet("verify_receipt", flag.ContinueOnError)
	key := flags.String("key", "", "file of the public key that you trust, PEM")
	pseudonym := flags.String("subject", "", "the pseudonym of the person")
	salt := flags.String("salt", "", "what was handed to that person with the receipt")
	files := []string{}
	for {
		if flags.Parse(arguments) != nil {
			return 2
		}
		if flags.NArg() == 0 {
			break
		}
		files, arguments = append(files, flags.Arg(0)), flags.Args()[1:]
	}
	if len(files) != 1 || *key == "" {
		return refuse("usage: verify_receipt RECEIPT.json --key PUBLIC_KEY_FILE [--subject PSEUDONYM --salt HEX]")
	}
	subject := ""
	if *pseudonym != "" || *salt != "" {
		secret, err := hex.DecodeString(*salt)
		if err != nil || len(secret) != 32 || *pseudonym == "" {
			return refuse("--subject and --salt (64 hexadecimal digits) belong together")
		}
		code := hmac.New(sha256.New, secret)
		io.WriteString(code, *pseudonym)
		subject = hex.EncodeToString(code.Sum(nil))
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return refuse(err.Error())
	}
	trusted, err := publicKey(*key)
	if err != nil {
		return refuse(err.Error())
	}
	receipt, err := verify(content, trusted, subject)
	if err != nil {
		fmt.Printf("%s: NOT VALID: %v.\n", files[0], err)
		return 1
	}
	whose := "of somebody whom it does not name"
	if subject != "" {
		whose = "of this person"
	}
	fmt.Printf("%s: valid, signed by the key in %s, %s.\n", files[0], *key, whose)
	tell(receipt)
	return 0
}

func publicKey(path string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is no key in PEM", path)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	trusted, is := key.(ed25519.PublicKey)
	if !is {
		return nil, fmt.Errorf("%s is no public key of Ed25519", path)
	}
	return trusted, nil
}

func main() {
	os.Exit(run(os.Args[1:]))
}
