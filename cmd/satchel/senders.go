package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"satchel/internal/app"
	"satchel/server/push/fcm"
	"satchel/server/push/mail"
)

// pushSettings say by which Firebase project pushes are sent.
type pushSettings struct {
	Project         string `json:"project"`
	CredentialsFile string `json:"credentialsFile"`
	Endpoint        string `json:"endpoint"` // of a stand-in, as satchel fcm-emulator
	Title           string `json:"title"`
}

// mailSettings say by which server mail is sent.
type mailSettings struct {
	Host         string `json:"host"`
	Port         int    `json:"port"`
	Security     string `json:"security"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	PasswordFile string `json:"passwordFile"`
	Auth         string `json:"auth"`
	From         string `json:"from"`
	ReplyTo      string `json:"replyTo"`
	// Bounces is where undeliverable mail comes back to: an address that somebody
	// reads, or how the reports come in here.
	Bounces bounceSettings `json:"bounces"`
}

// bounceSettings are an address, as text, or where the company's mail server
// hands on what comes for bounce+…@domain.
type bounceSettings struct {
	Address string `json:"-"`

	Listen      string `json:"listen"`
	Domain      string `json:"domain"`
	TLSCert     string `json:"tlsCert"`
	TLSKey      string `json:"tlsKey"`
	Connections int    `json:"connections"`
	PerMinute   int    `json:"perMinute"`
}

// UnmarshalJSON takes either form, and no member that it doesn't know.
func (b *bounceSettings) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, &b.Address)
	}
	type plain bounceSettings
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(b))
}

// reports makes the listener's part of the configuration, nil for none.
func (b *bounceSettings) reports() (*app.Bounces, error) {
	switch {
	case *b == bounceSettings{Address: b.Address}:
		return nil, nil
	case b.Listen == "" || b.Domain == "":
		return nil, errors.New("bounces: listen and domain go together")
	case (b.TLSCert == "") != (b.TLSKey == ""):
		return nil, errors.New("bounces: tlsCert and tlsKey go together")
	case b.Connections < 0 || b.PerMinute < 0:
		return nil, errors.New("bounces: a limit is less than nothing")
	}
	return &app.Bounces{
		Listen: b.Listen, Domain: strings.ToLower(b.Domain), TLSCert: b.TLSCert, TLSKey: b.TLSKey, Connections: b.Connections, PerMinute: b.PerMinute,
	}, nil
}

// senders makes what pushes and mail are sent by, of what is configured.
func senders(ctx context.Context, cfg *serveFile, to *app.Config) error {
	if p := cfg.Push; p != nil {
		s, err := fcm.New(ctx, fcm.Config{
			Project: p.Project, CredentialsFile: p.CredentialsFile, Endpoint: p.Endpoint, Title: p.Title, Random: rand.Float64, Log: to.Log,
		})
		if err != nil {
			return usageError{fmt.Errorf("push: %w", err)}
		}
		to.Pusher = app.ByFCM(s)
	}
	if m := cfg.Mail; m != nil {
		if m.PasswordFile != "" {
			b, err := os.ReadFile(m.PasswordFile)
			switch {
			case err != nil:
				return usageError{err}
			case m.Password != "" || len(b) > maxSecret:
				return usageError{fmt.Errorf("mail: one password, of at most %d bytes", maxSecret)}
			}
			m.Password = strings.TrimSpace(string(b))
		}
		s, err := mail.New(mail.Config{
			Host: m.Host, Port: m.Port, Security: mail.Security(m.Security), Username: m.Username, Password: m.Password,
			Auth: mail.Auth(m.Auth), From: m.From, ReplyTo: m.ReplyTo, Bounces: m.Bounces.Address, Random: rand.Float64, Log: to.Log,
		})
		if err != nil {
			return usageError{fmt.Errorf("mail: %w", err)}
		}
		to.Letters = app.BySMTP(s)
		if to.Bounces, err = m.Bounces.reports(); err != nil {
			return usageError{fmt.Errorf("mail: %w", err)}
		}
	}
	return nil
}
