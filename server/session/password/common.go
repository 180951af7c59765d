package password

import (
	"strings"
	"unicode"
)

// commonWords are what most passwords that are guessed first are made of; one
// of them with digits and marks around it, with letters written as digits, or
// twice over, is as easily guessed. Lower case, letters only.
const commonWords = `
password passwort passw passwd passcode pass contrasena motdepasse senha wachtwoord parola haslo admin administrator administrador
root user username guest test testing tester demo default changeme changeit change welcome willkommen bienvenue bienvenido benvenuto
hello login signin letmein logmein access master superman batman spiderman ironman pokemon starwars matrix dragon monkey football
fussball futbol soccer baseball basketball hockey tennis golf sunshine princess princesa prinzessin shadow michael jordan jennifer
jessica ashley daniel andrew thomas robert william charlie george matthew joshua nicole hannah samantha michelle amanda anthony
alexander andrea martin patrick richard elizabeth christian sebastian stefan thorsten iloveyou ichliebedich jetaime teamo tequiero
loveme lovely love babygirl beautiful sweetheart butterfly flower chocolate cookie banana cheese pepper ginger summer sommer winter
spring autumn herbst january february march april august september october november december monday tuesday wednesday thursday friday
saturday sunday computer internet server system network windows microsoft apple google facebook instagram samsung android iphone
linux ubuntu oracle mysql database secret geheim secreto freedom freiheit liberty forever whatever nothing something trustno trustnoone
killer hunter ranger mustang ferrari porsche mercedes corvette yamaha harley chelsea arsenal liverpool barcelona realmadrid juventus
bayern schalke dortmund manchester cowboys yankees lakers qwerty qwertz azerty asdf asdfgh asdfghjkl zxcvbnm yxcvbnm qwertyuiop
qwertzuiop azertyuiop qazwsx qazwsxedc qweasd qweasdzxc qwerasdf zaqxsw abc abcd abcdef abcdefg abcdefgh abcdefghi abcdefghij company
service office manager sales support helpdesk business money jesus christ angel satchel london paris berlin madrid newyork america
deutschland france espana italia canada australia
`

// common holds commonWords.
var common = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(commonWords) {
		m[w] = true
	}
	return m
}()

// plain undoes what people do to letters of a word that they think hides it.
var plain = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

// fewDigits is up to what length a password of digits alone is one that is
// guessed: dates, telephone numbers, runs of keys.
const fewDigits = 12

// guessed reports whether a password is among the first that are tried. It looks
// no further than at the kinds of those that people choose most.
func guessed(pw string) bool {
	pw = strings.ToLower(pw)
	digits := strings.IndexFunc(pw, func(r rune) bool { return !unicode.IsDigit(r) }) < 0
	if digits && len([]rune(pw)) <= fewDigits {
		return true
	}
	edge := func(r rune) bool { return !unicode.IsLetter(r) }
	for _, w := range []string{pw, plain.Replace(pw), plain.Replace(strings.TrimFunc(pw, edge))} {
		core := strings.TrimFunc(w, edge)
		if core == "" {
			continue
		}
		for n := 1; n <= len(core)/2; n++ { // what is said over and over is said once
			if len(core)%n == 0 && strings.Repeat(core[:n], len(core)/n) == core {
				core = core[:n]
				break
			}
		}
		if common[core] {
			return true
		}
	}
	return false
}
