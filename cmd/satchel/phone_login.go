package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"satchel/mobile-api/client"
)

func (f *phone) loginCommand() *cobra.Command {
	var byProvider bool
	var wait time.Duration
	cmd := f.command("login", "Sign in; the device's records and unsent work stay", cobra.NoArgs, func(r *phoneRun, _ []string) error {
		if !byProvider {
			return f.login(r, r.signIn())
		}
		return f.login(r, r.signInByProvider(wait))
	})
	cmd.Flags().BoolVar(&byProvider, "oidc", false, "sign in by the company's identity provider, in the browser")
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "how long to wait for the browser, with --oidc")
	return cmd
}

// login tells how signing in went.
func (f *phone) login(r *phoneRun, err error) error {
	if err != nil {
		return err
	}
	s, err := r.Status()
	if err != nil {
		return err
	}
	return r.say(s, "Signed in as %s; this is device %s.\n", f.user, s.Device)
}

// signIn signs in by password, and by a second factor where one is asked for.
func (r *phoneRun) signIn() error {
	pw, err := r.readPassword()
	if err != nil {
		return err
	}
	err = r.Login(r.ctx, r.f.user, pw)
	challenge, ok := client.ChallengeOf(err)
	if !ok {
		return err
	}
	if e := challenge.Enrol; e != nil {
		fmt.Fprintf(r.err, "A second factor is needed here. Put this into an authenticator app:\n  %s\nor type the secret %s\n", e.URI, e.Secret)
	}
	code, err := r.readCode()
	if err != nil {
		return err
	}
	recovery, err := r.SecondFactor(r.ctx, challenge, code)
	if len(recovery) > 0 {
		fmt.Fprintf(r.err, "Recovery codes, shown this once; each is good once instead of a code:\n  %s\n", strings.Join(recovery, "\n  "))
	}
	return err
}

// readCode takes the second factor's code from where it was given, or asks.
func (r *phoneRun) readCode() (string, error) {
	if r.f.code != "" {
		return r.f.code, nil
	}
	if file, ok := r.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(r.err, "code of the authenticator app, or a recovery code: ")
		line, err := bufio.NewReader(io.LimitReader(file, 256)).ReadString('\n')
		return strings.TrimSpace(line), err
	}
	return "", usageError{errors.New("a second factor is asked for: give its code by --code or SATCHEL_CODE")}
}

// signInByProvider signs in in the system's browser.
func (r *phoneRun) signInByProvider(wait time.Duration) error {
	ctx, cancel := context.WithTimeout(r.ctx, wait)
	defer cancel()
	err := r.LoginByProvider(ctx, func(url string) error {
		fmt.Fprintf(r.err, "Open this address to sign in:\n%s\n", url)
		if r.wide {
			openBrowser(url)
		}
		return nil
	})
	if errors.Is(err, context.DeadlineExceeded) && r.ctx.Err() == nil {
		return fmt.Errorf("nobody signed in within %s", wait)
	}
	return err
}

// openBrowser tries to; the address stands on the screen anyway.
func openBrowser(url string) {
	var cmd *exec.Cmd
	switch runtime.GOOS {
	case "darwin":
		cmd = exec.Command("open", url)
	case "windows":
		cmd = exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
	default:
		cmd = exec.Command("xdg-open", url)
	}
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }()
	}
}
