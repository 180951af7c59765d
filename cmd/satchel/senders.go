package main

import (
	"context"
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
	Bounces      string `json:"bounces"`
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
			Auth: mail.Auth(m.Auth), From: m.From, ReplyTo: m.ReplyTo, Bounces: m.Bounces, Random: rand.Float64, Log: to.Log,
		})
		if err != nil {
			return usageError{fmt.Errorf("mail: %w", err)}
		}
		to.Letters = app.BySMTP(s)
	}
	return nil
}
